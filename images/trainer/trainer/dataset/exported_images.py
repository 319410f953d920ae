"""The images of an export, under names that every system and tool takes.

A name is the task's number, a dash and what is plain of the file's own name: ASCII letters, digits, dots,
dashes and underscores. The number makes it unique, also where letter case or Unicode forms are folded, and
keeps it from being a device's name on Windows.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from labelloop.images import SUFFIXES, ImageError, is_turned, upright
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

UPRIGHT_QUALITY = 95
SIDES = {Side.TRAIN: "train", Side.HOLDOUT: "val"}
"""What other tools call the sides."""
SKIPPED = "skipped.txt"
SOURCES = "images.tsv"
CHUNK = 1 << 20


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export, or a folder, which has no content.

    name: its path in the export, with slashes. content: its bytes in pieces, which can be read once. packed:
    whether they are compressed already.
    """

    name: str
    content: Iterable[bytes] | None = None
    packed: bool = False

    @classmethod
    def of_text(cls, name: str, pieces: Iterable[str], encoding: str = "utf-8") -> "ExportedFile":
        return cls(name, (piece.encode(encoding) for piece in pieces))


class ExportedImages:
    """The images of an export, each read when its turn comes.

    below: for "train" and "val", the folder for their images. copied: whether the images are in the export;
    without them, images.tsv says which file each name stands for. sides: once `files` was read to its end,
    the images of both, with the new name as `file`.
    """

    def __init__(self, snapshot: Snapshot, home: Path, below: Mapping[str, str], copied: bool) -> None:
        self._snapshot, self._home, self._below, self._copied = snapshot, home, below, copied
        self.sides = {name: LabelledImages() for name in SIDES.values()}
        self._skipped = [f"task {row.task}: {row.reason}" for row in snapshot.skipped]

    def files(self) -> Iterator[ExportedFile]:
        """The folders, which are there even without an image, and the images."""
        if self._copied:
            yield from map(ExportedFile, dict.fromkeys(self._below.values()))
        for image in self._snapshot.images:
            side = SIDES[image.side]
            try:
                name, content = self._read(image)
            except (ImageError, OSError) as error:
                self._skipped.append(f"task {image.task}: {error}")
                continue
            self.sides[side].add(replace(image, file=name))
            if self._copied:
                yield ExportedFile(f"{self._below[side]}/{name}", content, packed=True)

    def lists(self) -> Iterator[ExportedFile]:
        """What is told beside the labels. To be asked for after `files`."""
        if self._skipped:
            yield ExportedFile.of_text(SKIPPED, (f"{line}\n" for line in self._skipped))
        if not self._copied:
            yield ExportedFile.of_text(SOURCES, self._sources())

    def _read(self, image: SnapshotImage) -> tuple[str, Iterable[bytes]]:
        """The image's new name and its bytes: the file's, or, where that is turned or of a kind that tools
        don't look for, those of a new one.

        Raises:
            ImageError, OSError: the file cannot be read.
        """
        source = self._home / image.file
        stem, suffix = f"{image.task:06d}-{_plain(Path(image.file).stem)}", source.suffix.lower()
        if suffix in SUFFIXES and not is_turned(source):
            return stem + suffix, _pieces(source) if self._copied else ()
        return f"{stem}.jpg", (_made_upright(source),) if self._copied else ()

    def _sources(self) -> Iterator[str]:
        """Lines of the name in the export, the task, the file that it stands for, and its SHA-256."""
        yield "name\ttask\tfile\tsha256\n"
        for side, images in self.sides.items():
            for image in images:
                original = self._snapshot.images.get(image.id)
                file = re.sub(r"\s", " ", original.file if original else "")
                yield f"{self._below[side]}/{image.file}\t{image.task}\t{file}\t{image.sha256}\n"


def _pieces(source: Path) -> Iterable[bytes]:
    """A file's bytes. What keeps it from being read at all is raised at once. Raises OSError."""
    pieces = pieces_of(source)
    first = next(pieces, b"")

    def all_of_it() -> Iterator[bytes]:
        yield first
        yield from pieces

    return all_of_it()


def pieces_of(source: Path) -> Iterator[bytes]:
    """A file's bytes, as they are asked for. Raises OSError, with the file's name."""
    with source.open("rb") as file:
        try:
            while piece := file.read(CHUNK):
                yield piece
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(source)) from error


def _made_upright(source: Path) -> bytes:
    out = io.BytesIO()
    with upright(source) as image:
        image.info.clear()
        image.save(out, "JPEG", quality=UPRIGHT_QUALITY)
    return out.getvalue()


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]
