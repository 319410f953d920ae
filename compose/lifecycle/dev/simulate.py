"""`make simulate`: a COCO folder is put where the services can read it, then `labelloop simulate` runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lifecycle.backup.contents import SIMULATED
from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
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
    stays for the next time.

    Raises:
        Failure: no COCO, or a file is missing in it.
    """
    if not given.get("COCO"):
        raise Failure("make simulate", found="no COCO", needed=f"COCO={_NEEDED}")
    source = coco_folder(given["COCO"])
    _copy(source, home.root / SIMULATED / source.name)
    running_stack(home, settings.load(home)).labelloop(["simulate", source.name, *_arguments(given)], None)


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
