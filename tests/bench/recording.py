"""What a run measured, kept in docs/benchmarks/."""

from collections.abc import Collection, Sequence
from pathlib import Path

from bench.options import Options
from bench.report import Figure, Report

from lifecycle.dev import records
from lifecycle.dev.record_pages import write_pages

_NOT_TOLD = ("RECORD", "OUT")
_ON_A_DATABASE = ("growth", "load")


def record(
    root: Path,
    report: Report,
    options: Options,
    begun: records.Begun,
    arguments: Sequence[str],
    on_coco: Collection[str],
) -> None:
    """Keeps a run's figures in the checkout at `root`, if RECORD asks for it, and makes the pages anew.

    on_coco: the sections that measure on COCO's images.

    Raises:
        Failure: nothing was measured, or an earlier record cannot be read.
    """
    if not records.is_wanted(options.record):
        return
    names = dict.fromkeys([*(row.section for row in report.figures), *report.failed])
    coco = options.coco.resolve().name if options.coco else ""
    where = dict.fromkeys(on_coco, coco) | dict.fromkeys(_ON_A_DATABASE, options.database)
    sections = [
        records.Section(
            name,
            where.get(name, options.runtime),
            tuple(_recorded(row) for row in report.figures if row.section == name),
            report.failed.get(name, ""),
        )
        for name in names
        if not report.failed.get(name, "").startswith("left out")
    ]
    told = [word for word in arguments if word.partition("=")[0] not in _NOT_TOLD]
    machine = {name: value for name, value in report.machine.items() if name != "commit"}
    path = records.write(
        root,
        "bench",
        begun,
        " ".join(["make bench", *told]),
        machine,
        sections,
        options.model_dump(mode="json", exclude={"out", "record"}),
    )
    pages = ", ".join(map(str, write_pages(root)))
    print(f"recorded: {path.relative_to(root)}; made anew: {pages or 'no page'}")


def _recorded(row: Figure) -> records.Recorded:
    return records.Recorded(
        row.name, row.value, row.unit, row.detail, row.baseline, row.ratio, row.target, row.met
    )
