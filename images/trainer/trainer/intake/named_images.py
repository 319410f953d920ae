"""Finds the images that a dataset names, wherever its folders were moved to."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from labelloop.images import SUFFIXES
from trainer.intake.records import IntakeError
from trainer.system.scratch import Scratch

_SCHEMA = "CREATE TABLE files (base TEXT, path TEXT); CREATE INDEX by_base ON files (base);"


class NotFound(Exception):
    """An image is not there, or it is unclear which is meant; the message says so."""


def refuse(error: OSError) -> None:
    """Raises IntakeError: a folder cannot be read, and what it holds would be missing without a word."""
    raise IntakeError(
        f"{error.filename}: {error.strerror} for user {os.geteuid()}; `chmod -R o+rX` lets everybody read it"
    )


def is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def parts_of(name: str) -> tuple[str, ...]:
    """A path's parts, less a drive, the root, `.` and `..`. Backslashes separate parts as on Windows.

    >>> parts_of(r"C:\\data\\images\\a b.jpg"), parts_of("../train/./a.jpg")
    (('data', 'images', 'a b.jpg'), ('train', 'a.jpg'))
    """
    plain = name.replace("\\", "/")
    if len(plain) > 1 and plain[1] == ":":
        plain = plain[2:]
    return tuple(part for part in PurePosixPath(plain).parts if part not in ("/", "//", ".", ".."))


def base_of(name: str) -> str:
    """The last part of a path; "" when it has none."""
    return (parts_of(name) or ("",))[-1]


class RealPaths:
    """Where files lie behind all links. Each folder is looked up once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, file: Path) -> str:
        # Unlike Path's it is False where the folder may not be looked into, as reading the file will tell.
        if os.path.islink(file):  # noqa: PTH114
            return os.path.realpath(file)
        folder = str(file.parent)
        if folder not in self._folders:
            self._folders[folder] = real_folder(file.parent)
        return f"{self._folders[folder]}{file.name}"


def real_folder(folder: Path) -> str:
    """A folder behind all links, with a slash at its end."""
    return f"{os.path.realpath(folder).rstrip('/')}/"


class ImageFiles:
    """The images below some folders; nothing outside them is ever read."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._folders = (*self.roots, *(root / "images" for root in self.roots))
        self._real_roots = tuple(map(real_folder, roots))
        self._real_paths = RealPaths()
        self._index: Scratch | None = None

    def find(self, name: str, near: Sequence[Path] = (), alone: bool = True) -> Path:
        """The file that a dataset calls `name`: below one of the folders `near`, or else the one whose path
        ends most like it.

        alone: whether no other image of the dataset is called so in another folder. Otherwise a file has to
        have its folder's name, too.

        Raises:
            NotFound: there is none, or several are alike.
        """
        parts = parts_of(name)
        if not parts:
            raise NotFound(f"no image is named by {name[:80]!r}")
        for tail in (parts, parts[-1:]) if alone else (parts,):
            for folder in (*near, *self._folders):
                if is_file(path := folder.joinpath(*tail)):
                    return self.inside(path)
        found = self._most_alike(parts)
        if not alone and _common(found.parts, parts) < min(len(parts), 2):
            raise NotFound(
                f"the dataset has images of this name in several folders, and {self.name_of(found)} could be "
                "any of them; IMAGES= names another folder with images"
            )
        return self.inside(found)

    def find_stem(self, stem: str, near: Sequence[Path]) -> Path | None:
        """The image with this name, whatever its suffix, in one of the folders; None when there is none."""
        for folder in near:
            for suffix in (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
                if is_file(folder / f"{stem}{suffix}"):
                    return self.inside(folder / f"{stem}{suffix}")
        return None

    def below(self, folder: Path) -> Iterator[Path]:
        """The images below a folder, in the order of their paths."""
        for top, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(filter(is_image, names)):
                if not name.startswith("."):
                    yield Path(top, name)

    def name_of(self, file: Path) -> str:
        """What an image is called in messages: its path below the dataset's folder."""
        whole = str(file)
        for root in self.roots:
            if whole.startswith(folder := f"{root}/"):
                return whole.removeprefix(folder)
        return file.name

    def _most_alike(self, parts: tuple[str, ...]) -> Path:
        candidates = [Path(path) for (path,) in self._rows(parts[-1])]
        if not candidates:
            raise NotFound("the image is not in the dataset; IMAGES= names another folder with images")
        ranked = sorted(candidates, key=lambda path: _common(path.parts, parts), reverse=True)
        if len(ranked) > 1 and _common(ranked[0].parts, parts) == _common(ranked[1].parts, parts):
            raise NotFound(f"two images could be meant: {self.name_of(ranked[0])}, {self.name_of(ranked[1])}")
        return ranked[0]

    def _rows(self, base: str) -> Iterator[tuple[str]]:
        if self._index is None:
            self._index = Scratch(_SCHEMA)
            found = ((path.name, str(path)) for root in self.roots for path in self.below(root))
            self._index.run_many("INSERT INTO files VALUES (?, ?)", found)
        for row in self._index.rows("SELECT path FROM files WHERE base = ? ORDER BY path", (base,)):
            yield (str(row[0]),)

    def inside(self, path: Path) -> Path:
        """The path itself. Raises NotFound: behind all links it lies outside the folders."""
        if not self._real_paths.of(path).startswith(self._real_roots):
            raise NotFound("the link leads out of the dataset; IMAGES= names another folder with images")
        return path


def _common(path: Sequence[str], wanted: Sequence[str]) -> int:
    """How many parts two paths have in common, counted from their ends."""
    count = 0
    for one, other in zip(reversed(path), reversed(wanted), strict=False):
        if one != other:
            break
        count += 1
    return count


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or with a null byte
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        IntakeError: it cannot be read, or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise IntakeError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}") from error
