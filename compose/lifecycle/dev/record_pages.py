"""The pages of recorded figures: docs/benchmarks/README.md, and the tables between marks in other pages.

A page has `<!-- figures: serving -->` where the newest run of a section is to stand, and
`<!-- end of figures -->` behind it. What stands between is made here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lifecycle.console import Failure, line
from lifecycle.dev.records import FOLDER, Record, Recorded, Section, read
from lifecycle.files import replace_text
from lifecycle.home import Home

PAGE = FOLDER / "README.md"
LINES = 10
"""Of a figure's course, at most so many runs stand on the page; the files have all."""
_BLOCK = re.compile(
    r"^<!-- figures: (?P<name>[^>]*?) -->\n.*?^<!-- end of figures -->$", re.MULTILINE | re.DOTALL
)
_HEAD = """\
# Recorded figures

What `make bench RECORD=1` and `make simulate RECORD=1` measured, one file a run. `make figures` makes this
page, and the tables between marks in other pages, from these files; nothing in them is typed by hand. A ratio
is ours against what stands under *instead*. **Bold** is a target that was missed. What is measured, and how:
[measure what it saves](../how-to/measure-what-it-saves.md).

Figures of different machines are not one course, nor are those of a machine that others used: *busy* is a run
that began with a load average above the cores, or that had a low priority of its own. *Changed* is a run
whose files were not those of the commit.
"""


def figures(home: Home, given: Mapping[str, str]) -> None:
    """`make figures`: the pages anew, from the files."""
    changed = write_pages(home.root)
    line("figures", f"made anew: {', '.join(map(str, changed))}" if changed else "all as the records say")


def write_pages(root: Path) -> list[Path]:
    """Makes the pages of the checkout at `root` anew. Returns: those that have changed.

    Raises:
        Failure: a record cannot be read, or a mark names no section.
    """
    wanted = pages(root)
    changed = [path for path, text in wanted.items() if not _has(root / path, text)]
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        replace_text(root / path, wanted[path], 0o644)
    return changed


def pages(root: Path) -> dict[Path, str]:
    """What each page with recorded figures should say, by its path below `root`.

    Raises:
        Failure: as `write_pages`.
    """
    records = read(root)
    made = {PAGE: course_page(records)}
    for path in sorted((root / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(root)
        if place != PAGE and _BLOCK.search(text):
            made[place] = _BLOCK.sub(_filled(records, place), text)
    return made


def course_page(records: list[Record]) -> str:
    """Every figure's course over commits, section by section."""
    if not records:
        return f"{_HEAD}\nNo run is recorded yet.\n"
    letters = _machines(records)
    parts = [_HEAD, "## Machines\n\n| | |\n|---|---|"]
    parts += [f"| {letter} | {name} |" for name, letter in letters.items()]
    parts.append("\n## Runs\n\n| run | commit | machine | command |\n|---|---|---|---|")
    parts += [
        f"| [{record.measured[:16].replace('T', ' ')}]({record.file}) | {_commit(record)} | "
        f"{letters[_machine(record)]}{_state(record)} | `{record.command}` |"
        for record in reversed(records)
    ]
    for (name, on), runs in _by_section(records).items():
        parts.append(f"\n## {_title(name, on)}\n")
        parts.append("| | run | commit | machine | value | instead | ratio | target |")
        parts.append("|---|---|---|---|---:|---:|---:|---|")
        for figure_name, course in _courses(runs).items():
            for place, (record, row) in enumerate(course[:LINES]):
                first = figure_name if place == 0 else ""
                cells = (first, f"[{record.day}]({record.file})", _commit(record), letters[_machine(record)])
                parts.append(_row(f"{cells[3]}{_state(record)}", *cells[:3], *_numbers(row)))
        parts += [f"\n{record.day}, {_commit(record)}: broke off: {why}" for record, why in _failures(runs)]
    return "\n".join(parts) + "\n"


def _filled(records: list[Record], place: Path) -> Callable[[re.Match[str]], str]:
    """What a mark on the page at `place` is replaced with."""
    to_folder = os.path.relpath(FOLDER, place.parent)

    def fill(mark: re.Match[str]) -> str:
        name = mark["name"].strip()
        if not name.isidentifier():
            raise Failure(
                str(place), found=f"figures: {name}", needed="a section of `make bench`, or simulate"
            )
        return f"<!-- figures: {name} -->\n{newest(records, name, to_folder)}\n<!-- end of figures -->"

    return fill


def newest(records: list[Record], section: str, to_folder: str) -> str:
    """A section's newest run on each dataset, as a table: one on a machine that had nothing else to do, if
    there is any. to_folder: where the records are, seen from the page.
    """
    found = {on: runs for (name, on), runs in _by_section(records).items() if name == section}
    if not found:
        how = (
            "make simulate COCO=… RECORD=1"
            if section == "simulate"
            else f"make bench ONLY={section} RECORD=1"
        )
        return f"No run of it is recorded yet; `{how}` does it, and makes this table."
    return "\n\n".join(_table(runs, to_folder) for runs in found.values())


def _table(runs: list[tuple[Record, Section]], to_folder: str) -> str:
    record, section = next((run for run in reversed(runs) if not run[0].load.busy), runs[-1])
    said = f"[{record.day}, commit {record.commit}]({to_folder}/{record.file})"
    head = f"`{record.command}`, {said}, {_machine(record)}, {_load_words(record)}:"
    rows = [
        f"| {row.name}{_detail(row)} | {' | '.join(_numbers(row, detail=False))} |" for row in section.figures
    ]
    broke = [f"\nIt broke off: {section.failed}"] if section.failed else []
    return "\n".join(
        [head, "", "| | labelloop | instead | ratio | target |", "|---|---:|---:|---:|---|", *rows, *broke]
    )


def _by_section(records: list[Record]) -> dict[tuple[str, str], list[tuple[Record, Section]]]:
    """By a section's name and dataset, in the order in which they first came: its runs, the oldest first."""
    found: dict[tuple[str, str], list[tuple[Record, Section]]] = {}
    for record in records:
        for section in record.sections:
            found.setdefault((section.name, section.on), []).append((record, section))
    return found


def _courses(runs: list[tuple[Record, Section]]) -> dict[str, list[tuple[Record, Recorded]]]:
    """By a figure's name, in the newest run's order: what it was, the newest first."""
    found: dict[str, list[tuple[Record, Recorded]]] = {}
    for record, section in reversed(runs):
        for row in section.figures:
            found.setdefault(row.name, []).append((record, row))
    return found


def _failures(runs: list[tuple[Record, Section]]) -> Iterator[tuple[Record, str]]:
    return ((record, section.failed) for record, section in reversed(runs) if section.failed)


def _machines(records: list[Record]) -> dict[str, str]:
    """A letter for each machine, in the order in which they came."""
    names = list(dict.fromkeys(_machine(record) for record in records))
    return {name: _letters(number) for number, name in enumerate(names)}


def _letters(number: int) -> str:
    """
    >>> [_letters(number) for number in (0, 25, 26)]
    ['A', 'Z', 'AA']
    """
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _machine(record: Record) -> str:
    row = record.machine
    told = [
        str(row.get("cpu", "unknown")),
        f"{row.get('cores', '?')} cores",
        f"{row.get('threads', '?')} {'thread' if row.get('threads') == 1 else 'threads'}",
    ]
    more = [f"{row['memory_gb']:g} GB"] if row.get("memory_gb") else []
    return ", ".join(
        [*told, *more, *([str(row["gpu"])] if row.get("gpu") else []), str(row.get("runtime", ""))]
    )


def _state(record: Record) -> str:
    """What is to be known of the machine's state before a figure is believed; empty if it had nothing else
    to do.
    """
    if not record.load.busy:
        return f", {record.load.stolen:.0%} stolen" if record.load.stolen >= 0.02 else ""
    return f", busy: {_load_words(record)}"


def _load_words(record: Record) -> str:
    load = record.load
    words = [f"load {load.before:g} on {load.cores} cores before"]
    words += [f"nice {load.nice}"] if load.nice else []
    return ", ".join([*words, *([f"{load.stolen:.0%} stolen"] if load.stolen >= 0.02 else [])])


def _commit(record: Record) -> str:
    return f"`{record.commit}`{', changed' if record.changed else ''}"


def _title(name: str, on: str) -> str:
    return f"{name}, {on}" if on else name


def _row(machine: str, first: str, run: str, commit: str, *numbers: str) -> str:
    return f"| {' | '.join((first, run, commit, machine, *numbers))} |"


def _numbers(row: Recorded, detail: bool = True) -> tuple[str, str, str, str]:
    """Value, baseline, ratio and target; what missed its target is bold."""
    value, ratio = (
        f"{_number(row.value)} {row.unit}".rstrip(),
        "" if row.ratio is None else f"{row.ratio:.2f} ×",
    )
    if row.met is False:
        value, ratio = (value, f"**{ratio}**") if ratio else (f"**{value}**", ratio)
    instead = "" if row.instead is None else f"{_number(row.instead)} {row.unit}".rstrip()
    return value + (_detail(row) if detail else ""), instead, ratio, row.target


def _detail(row: Recorded) -> str:
    return f" ({row.detail})" if row.detail else ""


def _number(value: float) -> str:
    """Three significant digits; all of them before the point.

    >>> [_number(value) for value in (0.5638, 1234.4, 3e-06, 0.0)]
    ['0.564', '1234', '0.00000300', '0']
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _has(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
