"""Figures that stay: what `make bench` and `make simulate` measured, one file a run in docs/benchmarks/.

A record says when, at which commit, by which command and on what machine, but neither the machine's name nor
where anything lies on it. `lifecycle.dev.record_pages` makes the pages of them.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from lifecycle.console import Failure
from lifecycle.files import replace_text
from lifecycle.settings.host import cores, host_memory
from lifecycle.shell import answer

FOLDER = Path("docs") / "benchmarks"
CHOICES = ("", "0", "1", "busy")
_FORMAT = 1
_SUFFIX = ".json"
# A path of two parts or more that no letter and no host stands before.
_PATH = re.compile(r"(?<![\w.~:/*])~?/(?:[^\s/'\"=,:;()\[\]]+/)+([^\s/'\"=,:;()\[\]]*)")
# What varied in a name, of a program that does not keep it apart: "mAP (± 0.011, 3 seeds)".
_SPREAD = re.compile(r" \((± [^()]*)\)$")


@dataclass(frozen=True)
class Recorded:
    """One figure. name: what it goes by from run to run. detail: what else was said of it, which varies.

    instead: the same of what it is compared with. ratio: value / instead. target: in words, "≤ 1.3 ×".
    """

    name: str
    value: float
    unit: str = ""
    detail: str = ""
    instead: Optional[float] = None
    ratio: Optional[float] = None
    target: str = ""
    met: Optional[bool] = None


@dataclass(frozen=True)
class Section:
    """What one part of a run measured. on: the dataset; where there is none, the database or the runtime.
    failed: why it broke off, if it did.
    """

    name: str
    on: str = ""
    figures: tuple[Recorded, ...] = ()
    failed: str = ""


@dataclass(frozen=True)
class Load:
    """How busy the machine was with other things.

    before: the load average of the minute before the run. cores: that it was on. stolen: the share of the
    run's processor time that the host of a virtual machine gave to others. nice: the run's own niceness.
    """

    before: float
    cores: int
    stolen: float = 0.0
    nice: int = 0

    @property
    def busy(self) -> bool:
        """Whether other programs are in the figures."""
        return self.before > self.cores or self.nice > 0


@dataclass(frozen=True)
class Record:
    """One run. measured: when it began, ISO 8601, UTC. commit: short. changed: whether the work tree was not
    the commit's. options: what the run was asked for.
    """

    measured: str
    commit: str
    changed: bool
    command: str
    machine: Mapping[str, Any]
    load: Load
    sections: tuple[Section, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""

    @property
    def day(self) -> str:
        return self.measured[:10]


@dataclass(frozen=True)
class Begun:
    """What has to be looked at before a run: time, load, and the ticks of the processor."""

    measured: str
    before: float
    ticks: tuple[int, int]

    @classmethod
    def now(cls, wish: str) -> Begun:
        """wish: RECORD, one of CHOICES.

        Raises:
            Failure: RECORD is another word; or other programs keep the cores busy, and RECORD does not say
                that this is wanted.
        """
        if wish not in CHOICES:
            raise Failure("RECORD", found=wish, needed="1, or busy for a machine that others use")
        before = os.getloadavg()[0]
        if wish == "1" and before > cores():
            raise Failure(
                "RECORD=1",
                found=f"a load average of {before:.1f} on {cores()} cores, before anything is measured",
                needed="a machine with nothing else to do",
                do="Wait for what runs; RECORD=busy records it all the same, and says so beside each figure.",
            )
        return cls(time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), before, _ticks())

    def load(self) -> Load:
        now = _ticks()
        total, stolen = now[0] - self.ticks[0], now[1] - self.ticks[1]
        share = round(stolen / total, 3) if total > 0 else 0.0
        return Load(round(self.before, 2), cores(), share, os.nice(0))


def is_wanted(wish: str) -> bool:
    return wish not in ("", "0")


def write(
    root: Path,
    kind: str,
    begun: Begun,
    command: str,
    machine: Mapping[str, Any],
    sections: Iterable[Section],
    options: Mapping[str, Any],
) -> Path:
    """Writes a run's record for the checkout at `root`. kind: "bench" or "simulate". Returns: its file.

    Raises:
        Failure: nothing was measured. OSError: it cannot be written.
    """
    kept = tuple(_settled(section) for section in sections if section.figures or section.failed)
    if not any(section.figures for section in kept):
        raise Failure("RECORD", found="no figure", needed="at least one", do="Nothing was recorded.")
    commit, changed = _commit(root)
    record = Record(begun.measured, commit, changed, command, machine, begun.load(), kept, options)
    document = {"format": _FORMAT, "kind": kind, **asdict(record)}
    del document["file"]
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stamp = re.sub(r"[^\dT]", "", begun.measured.partition("+")[0])
    path = folder / f"{stamp}-{commit}-{kind}{_SUFFIX}"
    text = json.dumps(without_places(document), indent=1, ensure_ascii=False, allow_nan=False)
    replace_text(path, text + "\n", 0o644)
    return path


def read(root: Path) -> list[Record]:
    """The records of the checkout at `root`, the oldest first.

    Raises:
        Failure: a file is none; the message names it.
    """
    found = [_read(path) for path in (root / FOLDER).glob(f"*{_SUFFIX}")]
    return sorted(found, key=lambda record: (record.measured, record.file))


def _read(path: Path) -> Record:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["format"] != _FORMAT:
            raise ValueError(f"its format is {row['format']!r}, not {_FORMAT}")
        sections = tuple(
            Section(**{**part, "figures": tuple(Recorded(**figure) for figure in part["figures"])})
            for part in row["sections"]
        )
        given = {key: row[key] for key in ("measured", "commit", "changed", "command", "machine", "options")}
        return Record(**given, load=Load(**row["load"]), sections=sections, file=path.name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            str(path), found=repr(error), needed="a record of `make bench RECORD=1`", do="Remove it."
        ) from error


def without_places(value: Any) -> Any:
    """A JSON value whose strings name neither this machine nor its folders: of a path, the last part.

    >>> without_places({"command": "make bench COCO=/home/ann/data/cells ONLY=serving"})
    {'command': 'make bench COCO=cells ONLY=serving'}
    >>> without_places(["POST /predict", "http://127.0.0.1/user/login/", "~/data/cells/"])
    ['POST /predict', 'http://127.0.0.1/user/login/', 'cells']
    """
    if isinstance(value, str):
        name = socket.gethostname()
        text = (
            re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "host", value)
            if name not in ("", "localhost")
            else value
        )
        return _PATH.sub(lambda match: match[1] or match[0].rstrip("/").rpartition("/")[2], text)
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(inner) for inner in value]
    return value


def this_machine(runtime: str, threads: int) -> dict[str, Any]:
    """Processor, cores, threads, memory in GB and system, as far as the standard library knows them."""
    return {
        "cpu": _processor(),
        "cores": cores(),
        "threads": threads,
        "memory_gb": round(host_memory() / 1e9, 1),
        "system": platform.platform(),
        "runtime": runtime,
        "python": platform.python_version(),
    }


def _settled(section: Section) -> Section:
    """With finite figures only, and what varied in a name as its detail."""
    figures = []
    for figure in section.figures:
        spread = _SPREAD.search(figure.name)
        if spread:
            row = {
                **asdict(figure),
                "name": figure.name[: spread.start()],
                "detail": figure.detail or spread[1],
            }
            figure = Recorded(**row)
        if math.isfinite(figure.value):
            figures.append(figure)
    return Section(section.name, section.on, tuple(figures), section.failed)


def _commit(root: Path) -> tuple[str, bool]:
    """The commit, and whether what was measured was another state. Pages and records don't count."""
    commit = answer(["git", "rev-parse", "--short=9", "HEAD"], cwd=root)
    if not commit:
        return "unknown", True
    status = answer(["git", "status", "--porcelain", "--", ".", ":(exclude)docs"], cwd=root)
    return commit, status != ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _ticks() -> tuple[int, int]:
    """Of all processors since the start: all ticks, and those that a virtual machine's host gave to others.
    Zeros where that is not told.
    """
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0, 0
    return sum(ticks), ticks[7] if len(ticks) > 7 else 0
