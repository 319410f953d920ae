"""`make simulate`: a COCO folder is put where the services can read it, then `labelloop simulate` runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lifecycle.backup.contents import SIMULATED
from lifecycle.console import Failure, line
from lifecycle.dev import records
from lifecycle.dev.record_pages import write_pages
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import Stack, running_stack
from lifecycle.settings import settings
from lifecycle.settings.given import is_yes

_FILES = ("train.json", "test.json")
_NEEDED = f"a folder with images/, {' and '.join(_FILES)}"
OPTIONS = (
    "ORDERS",
    "SEEDS",
    "SCHEDULE",
    "BUDGET",
    "ONE_ROUND",
    "COSTS",
    "DRAW",
    "ADJUST",
    "DELETE",
    "ACCEPT",
    "RELABEL",
    "CLICK",
    "CLICKS",
    "AT_ONCE",
    "VERIFY",
    "GLANCE",
    "MARK",
    "PAGE",
    "ACCEPTED_IOU",
    "ADJUSTED_IOU",
)


def simulate(home: Home, given: Mapping[str, str]) -> None:
    """Copies COCO=DIR (images/, train.json, test.json) among Label Studio's uploads and runs the simulation.

    There every service may read it, in the containers too, and nothing makes tasks of it by itself. The copy
    stays for the next time. RECORD=1 keeps what it found in docs/benchmarks/.

    Raises:
        Failure: no COCO, or a file is missing in it; RECORD on a machine that is busy; the simulation failed.
    """
    if not given.get("COCO"):
        raise Failure("make simulate", found="no COCO", needed=f"COCO={_NEEDED}")
    source = coco_folder(given["COCO"])
    begun = records.Begun.now(given.get("RECORD", ""))
    _copy(source, home.root / SIMULATED / source.name)
    in_force = settings.load(home)
    stack, before = running_stack(home, in_force), _summaries(home)
    machine = records.this_machine(_runtime(stack), in_force.threads)
    command = ["simulate", source.name, *_arguments(given)]
    if not records.is_wanted(given.get("RECORD", "")):
        stack.labelloop(command, None)
    else:
        _in_a_child(lambda: stack.labelloop(command, None))
        _record(home, given, source.name, begun, machine, _summaries(home) - before)


def _in_a_child(become: Callable[[], object]) -> None:
    """Has a child become another program, and returns when that has ended well.

    Ctrl-C and SIGTERM are the child's, which then takes away what it has made.

    Raises:
        SystemExit: it has ended otherwise, with its status. It has said why.
    """
    child = os.fork()
    if not child:
        become()
        os._exit(0)
    former = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number)),
    }
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if status:
        raise SystemExit(status if status > 0 else 128 - status)


def _record(
    home: Home,
    given: Mapping[str, str],
    dataset: str,
    begun: records.Begun,
    machine: Mapping[str, Any],
    written: set[Path],
) -> None:
    """Keeps what a simulation found. written: its summary, and those of others that ended meanwhile."""
    if not written:
        raise Failure("make simulate RECORD", found="no summary in volumes/rounds", needed="the one it wrote")
    path = max(written)
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            records.Recorded(row["name"], float(row["value"]), row.get("unit", ""), row.get("detail", ""))
            for row in summary["figures"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"{path}", found=repr(error), needed="`figures`", do="A stack of an earlier release has none."
        ) from error
    told = [f"{name}={value}" for name, value in given.items() if name != "RECORD"]
    section = records.Section("simulate", dataset, tuple(rows))
    options = summary.get("options", {})
    command = " ".join(["make simulate", *told])
    kept = records.write(home.root, "simulate", begun, command, machine, [section], options)
    line("recorded", f"{kept.relative_to(home.root)}; {len(write_pages(home.root))} pages made anew")


def _summaries(home: Home) -> set[Path]:
    return set((home.root / "volumes" / "rounds").glob("simulate-*.json"))


def _runtime(stack: Stack) -> str:
    return "host" if isinstance(stack, HostStack) else "docker"


def coco_folder(given: str) -> Path:
    """Where it is.

    Raises:
        Failure: something is missing in it.
    """
    source = Path(given).expanduser().resolve()
    missing = [name for name in ("images", *_FILES) if not (source / name).exists()]
    if missing:
        raise Failure(f"COCO={given}", found=f"no {source / missing[0]}", needed=_NEEDED)
    return source


def _arguments(given: Mapping[str, str]) -> list[str]:
    options = [f"--{name.lower().replace('_', '-')}={given[name]}" for name in OPTIONS if name in given]
    predicted = [f"--predicted={pair}" for pair in given.get("PREDICTED", "").split(":") if pair]
    return [*options, *predicted, *(["--keep"] if is_yes(given, "KEEP") else [])]


def _copy(source: Path, target: Path) -> None:
    """Copies the annotations, and the images that they name, unless the same is there already."""
    names = [*_FILES, *(f"images/{name}" for split in _FILES for name in _image_names(source / split))]
    copied = 0
    for name in dict.fromkeys(names):
        file = target / name
        if not file.resolve().is_relative_to(target.resolve()):
            raise Failure(f"{source}", found=f"an image named {name}", needed="images below images/")
        try:
            if not _same(source / name, file):
                file.parent.mkdir(parents=True, exist_ok=True)
                _copy_file(source / name, file)
                copied += 1
        except OSError as error:
            raise Failure(f"copying {source / name}", found=str(error)) from error
    line("dataset", f"{len(names)} files in {target}, {copied} of them copied now")


def _image_names(split: Path) -> list[str]:
    try:
        rows = json.loads(split.read_text(encoding="utf-8"))["images"]
        unnamed = [number for number, row in enumerate(rows, start=1) if not row.get("file_name")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{split}", found=repr(error), needed="COCO's json") from error
    if unnamed:
        raise Failure(f"{split}", found=f"image in row {unnamed[0]} without file_name", needed="COCO's json")
    return [row["file_name"] for row in rows]


def _copy_file(source: Path, target: Path) -> None:
    """With its time, but not its mode: the containers' user has to be able to read it."""
    shutil.copyfile(source, target)
    target.chmod(0o644)
    os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))


def _same(source: Path, target: Path) -> bool:
    if not target.is_file():
        return False
    theirs, ours = source.stat(), target.stat()
    return (theirs.st_size, theirs.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns)
