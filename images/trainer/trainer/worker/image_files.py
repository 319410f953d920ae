"""Finds the files below volumes/images."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labelloop.images import SUFFIXES
from labelloop.system_files import is_in_system_folder, is_system_name

OUTSIDE = "a link to {}, which is not below volumes/images; move or mount the folder itself there"
LOOP = "a link that leads to itself"
FILE_OUTSIDE = "the link leads out of volumes/images; copy the file instead"


@dataclass(frozen=True)
class Found:
    """A file, or something that cannot be looked into. path: relative to volumes/images. stat: None for the
    latter. problem: why it is no image, as far as its name and place tell; empty otherwise.
    """

    path: str
    stat: os.stat_result | None
    problem: str


def walk(root: Path) -> Iterator[Found]:
    """Every file below root, except those in hidden and system folders.

    A link to a folder is followed if the folder is below root and would not be found anyway, as it is hidden.
    """
    home = root.resolve()
    folders, followed = [""], {home}
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if is_system_name(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_symlink() and _leads_to_folder(entry):
                        target = Path(entry.path).resolve()
                        if not target.is_relative_to(home):
                            yield Found(path, None, OUTSIDE.format(Path(entry.path).readlink()))
                        elif is_in_system_folder(target.relative_to(home)) and target not in followed:
                            followed.add(target)
                            folders.append(path)
                    else:
                        yield _file(path, entry, home)
        except OSError as error:
            if folder or not isinstance(error, FileNotFoundError):
                yield Found(folder or ".", None, _words(error))


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # it leads to itself
        return False


def _file(path: str, entry: os.DirEntry[str], home: Path) -> Found:
    try:
        stat = entry.stat()
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(home):
            return Found(path, stat, FILE_OUTSIDE)
    except OSError as error:
        dangling = isinstance(error, FileNotFoundError) and entry.is_symlink()
        words = f"a link to {Path(entry.path).readlink()}, where nothing is" if dangling else _words(error)
        return Found(path, None, words)
    return Found(path, stat, _suffix_problem(entry.name))


def _words(error: OSError) -> str:
    return LOOP if error.errno == errno.ELOOP else error.strerror or str(error)


def _suffix_problem(name: str) -> str:
    stem, dot, suffix = name.lower().rpartition(".")
    if dot + suffix in SUFFIXES:
        return ""
    kind = dot + suffix if stem else "a file without a suffix"
    return f"{kind} is not imported; {', '.join(s[1:] for s in SUFFIXES)} are"
