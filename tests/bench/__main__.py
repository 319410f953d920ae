"""The appliance measured against its alternatives, in one run on one machine: `make bench [NAME=VALUE …]`.

Options says what can be set. bench.json is written after every section, so a run that breaks off leaves what
it measured.
"""

import os
import sys
import traceback
from importlib import import_module

from bench.machine import describe
from bench.options import REPO, Options
from bench.recording import record
from bench.report import Report
from support.stack import default_runtime

from labelloop.errors import Explained
from lifecycle.console import Failure
from lifecycle.dev.records import Begun

# Name → module with `run(options: Options) -> Iterator[Figure]`, imported when its turn comes.
SECTIONS = {
    "startup": "bench.startup",
    "serving": "bench.serving",
    "limit": "bench.limit",
    "training": "bench.training",
    "first_images": "bench.first_images",
    "simulation": "bench.simulation",
    "label_errors": "bench.label_errors",
    "growth": "bench.growth",
    "desk": "bench.desk",
    "load": "bench.load",
}
# Run where ONLY names them; `make load` runs the first.
APART = ("load", "desk")
# They measure on COCO's images.
ON_COCO = ("serving", "limit", "training", "first_images", "simulation", "label_errors")


def main(arguments: list[str]) -> int:
    """Returns: the exit status: 2 for options that cannot be used, before anything is built; 1 when a section
    could not be measured, be it for want of COCO. A missed target is a result.
    """
    try:
        options = Options.parse(arguments)
        wanted, left_out = choose(options)
        begun = Begun.now(options.record)
    except (ValueError, Explained, Failure) as error:
        print(error, file=sys.stderr)
        return 2
    if left_out:
        print(f"left out for want of COCO=DIR: {', '.join(left_out)}", flush=True)
    if options.runtime == "auto":
        options = options.model_copy(update={"runtime": default_runtime()})
    os.environ["RUNTIME"] = options.runtime
    report = Report(options.out, describe(options), options.model_dump(mode="json"))
    report.failed = dict.fromkeys(left_out, "left out: no COCO=DIR")
    for name in wanted:
        print(f"\n{name}", flush=True)
        try:
            for figure in import_module(SECTIONS[name]).run(options):
                report.add(figure)
        except Exception as error:
            traceback.print_exc()
            report.failed[name] = in_a_line(error)
        report.write()
    print()
    report.show()
    print(f"\nwritten: {report.write()}, {report.chart() or 'no chart: no figure has a target'}")
    try:
        record(REPO, report, options, begun, arguments, ON_COCO)
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if report.failed else 0


def in_a_line(error: Exception) -> str:
    """Of a program's many last words, the first line and the last: what was run, and why it ended."""
    lines = f"{type(error).__name__}: {error}".strip().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1].strip()}"


def choose(options: Options) -> tuple[list[str], list[str]]:
    """The sections to run, and those left out: where ONLY names none, those that COCO is missing for.

    Raises:
        ValueError: ONLY names no section, or one that COCO is missing for, or LABELS are more than COCO has.
        DatasetError: COCO cannot be used.
    """
    wanted = list(options.only) or [name for name in SECTIONS if name not in APART]
    asked = f"ONLY={','.join(wanted)}"
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise ValueError(f"{asked}: no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    on_coco = [name for name in wanted if name in ON_COCO]
    if options.coco is None:
        if options.only and on_coco:
            raise ValueError(
                f"{asked}: {on_coco[0]} needs COCO=DIR, a folder with images/, train.json and test.json"
            )
        return [name for name in wanted if name not in ON_COCO], on_coco
    if on_coco:
        dataset = options.dataset()
        for remark in dataset.remarks:
            print(remark, flush=True)
        images = len(dataset.train)
        given = "training" in wanted or ("simulation" in wanted and "labels" in options.model_fields_set)
        if given and max(options.labels) > images:
            labels = ",".join(map(str, options.labels))
            raise ValueError(f"LABELS={labels}: {options.coco} has {images} images to label")
    return wanted, []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
