"""Labelled images in a temporary database, so that memory does not grow with their number."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from trainer.dataset.split import Side
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE images (
    id INTEGER PRIMARY KEY, sha256 TEXT, side TEXT, boxes INTEGER, submitted REAL, rest TEXT, verified INTEGER
);
CREATE INDEX by_sha256 ON images (sha256);
"""
_COLUMNS = "id, sha256, side, rest"

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SnapshotImage:
    """One labelled image. Boxes are in pixels of the upright image, labels index the snapshot's classes.

    file: relative to LABELLOOP_HOME, or absolute when it is outside. ignored: label and corners of the boxes
    that are neither truth nor error (COCO's iscrowd). A label from the number of the classes on is an ignored
    label of the config: such a box is one for every class.
    """

    id: int
    task: int
    file: str
    sha256: str
    width: int
    height: int
    side: Side
    xyxy: tuple[Corners, ...]
    labels: tuple[int, ...]
    ignored: tuple[tuple[int, Corners], ...] = ()

    @property
    def boxes(self) -> Iterable[tuple[int, Corners]]:
        return zip(self.labels, self.xyxy, strict=True)


class LabelledImages(Collection[SnapshotImage]):
    """Images with unique ids, in ascending order of these. Any thread may read; one at a time may write."""

    def __init__(self, images: Iterable[SnapshotImage] = ()) -> None:
        self._database = Scratch(_SCHEMA)
        for image in images:
            self.add(image)

    def add(self, image: SnapshotImage, submitted: float = 0.0, verified: bool = False) -> None:
        """Adds an image. submitted: when its annotation was, in seconds since 1970. verified: whether it was
        on the page Verify.

        Raises:
            ValueError: there is an image with that id already.
        """
        rest = (image.task, image.file, image.width, image.height, image.xyxy, image.labels, image.ignored)
        row = (image.id, image.sha256, image.side, len(image.labels), submitted, json.dumps(rest), verified)
        try:
            self._database.run("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"two images have the id {image.id}") from error

    def remove(self, image: SnapshotImage) -> None:
        self._database.run("DELETE FROM images WHERE id = ?", (image.id,))

    def get(self, image_id: int) -> SnapshotImage | None:
        return next(_select(self._database, "WHERE id = ?", image_id), None)

    def of_side(self, side: Side) -> Collection[SnapshotImage]:
        """The images of one side. Each iteration reads them anew."""
        return _OfSide(self._database, side)

    def by_sha256(self) -> Iterator[SnapshotImage]:
        return _select(self._database, "ORDER BY sha256, id")

    def verified(self) -> Iterator[str]:
        """The SHA-256 of the images that were added as verified."""
        return (row[0] for row in self._database.rows("SELECT sha256 FROM images WHERE verified"))

    def same_bytes(self, sha256: str) -> tuple[SnapshotImage, float] | None:
        """The first image with these bytes, and when its annotation was submitted."""
        row = self._database.row(
            f"SELECT {_COLUMNS}, submitted FROM images WHERE sha256 = ? ORDER BY id", (sha256,)
        )
        return None if row is None else (_image(*row[:-1]), float(row[-1]))

    @property
    def boxes(self) -> int:
        return self._database.number("SELECT total(boxes) FROM images")

    def __len__(self) -> int:
        return self._database.number("SELECT count(*) FROM images")

    def __iter__(self) -> Iterator[SnapshotImage]:
        return _select(self._database, "ORDER BY id")

    def __contains__(self, image: object) -> bool:
        return isinstance(image, SnapshotImage) and self.get(image.id) == image

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelledImages):
            return NotImplemented
        return all(ours == theirs for ours, theirs in zip_longest(self, other))

    __hash__ = None  # type: ignore[assignment]  # what can be added to has none


class _OfSide(Collection[SnapshotImage]):
    def __init__(self, database: Scratch, side: Side) -> None:
        self._database = database
        self._side = side

    def __len__(self) -> int:
        return self._database.number("SELECT count(*) FROM images WHERE side = ?", (self._side,))

    def __iter__(self) -> Iterator[SnapshotImage]:
        return _select(self._database, "WHERE side = ? ORDER BY id", self._side)

    def __contains__(self, image: object) -> bool:
        if not isinstance(image, SnapshotImage):
            return False
        which = "WHERE side = ? AND id = ?"
        return next(_select(self._database, which, self._side, image.id), None) == image


def _select(database: Scratch, which: str, *values: object) -> Iterator[SnapshotImage]:
    """The images that an SQL query selects. which: the end of the query, after its columns."""
    return (_image(*row) for row in database.rows(f"SELECT {_COLUMNS} FROM images {which}", values))


def _image(image_id: int, sha256: str, side: str, rest: str) -> SnapshotImage:
    """The image in a row of _COLUMNS."""
    task, file, width, height, xyxy, labels, ignored = json.loads(rest)
    corners = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in xyxy)
    beside = tuple((label, (x1, y1, x2, y2)) for label, (x1, y1, x2, y2) in ignored)
    return SnapshotImage(
        image_id, task, file, sha256, width, height, Side(side), corners, tuple(labels), beside
    )


def rounded(corners: Sequence[float]) -> Corners:
    """Rounds to hundredths of a pixel, so that images are the same after writing and reading."""
    x1, y1, x2, y2 = (round(corner, 2) for corner in corners)
    return x1, y1, x2, y2
