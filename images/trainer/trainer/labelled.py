"""Labelled images, however many: kept in a temporary database, so that memory doesn't grow with them."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from trainer.database import scratch
from trainer.split import Side

_SCHEMA = """
CREATE TABLE images (
    id INTEGER PRIMARY KEY, sha256 TEXT, side TEXT, boxes INTEGER, submitted REAL, rest TEXT
);
CREATE INDEX by_sha256 ON images (sha256);
"""


Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SnapshotImage:
    """One labelled image. xyxy in pixels of the oriented image, labels index the snapshot's classes.

    file: relative to LABELLOOP_HOME, or absolute when it lies outside.
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

    @property
    def boxes(self) -> Iterable[tuple[int, Corners]]:
        return zip(self.labels, self.xyxy, strict=True)


class LabelledImages(Collection[SnapshotImage]):
    """Images in ascending order of their ids, which differ. Any thread may read; one at a time writes."""

    def __init__(self, images: Iterable[SnapshotImage] = ()) -> None:
        self._database = scratch(_SCHEMA)
        for image in images:
            self.add(image)

    def add(self, image: SnapshotImage, submitted: float = 0.0) -> None:
        """submitted: when its annotation was, in seconds since 1970.

        Raises:
            ValueError: there is an image of that id.
        """
        rest = (image.task, image.file, image.width, image.height, image.xyxy, image.labels)
        row = (image.id, image.sha256, image.side, len(image.labels), submitted, json.dumps(rest))
        try:
            self._database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"two images have the id {image.id}") from error

    def remove(self, image: SnapshotImage) -> None:
        self._database.execute("DELETE FROM images WHERE id = ?", (image.id,))

    def get(self, image_id: int) -> SnapshotImage | None:
        return next(self._select("WHERE id = ?", image_id), None)

    def of_side(self, side: Side) -> Iterator[SnapshotImage]:
        return self._select("WHERE side = ? ORDER BY id", side)

    def by_sha256(self) -> Iterator[SnapshotImage]:
        return self._select("ORDER BY sha256, id")

    def same_bytes(self, sha256: str) -> tuple[SnapshotImage, float] | None:
        """The first image of these bytes, and when its annotation was submitted."""
        image = next(self._select("WHERE sha256 = ? ORDER BY id", sha256), None)
        if image is None:
            return None
        row = self._database.execute("SELECT submitted FROM images WHERE id = ?", (image.id,)).fetchone()
        return image, float(row[0])

    @property
    def boxes(self) -> int:
        return int(self._database.execute("SELECT total(boxes) FROM images").fetchone()[0])

    def _select(self, which: str, *values: object) -> Iterator[SnapshotImage]:
        rows = self._database.execute(f"SELECT id, sha256, side, rest FROM images {which}", values)
        for image_id, sha256, side, rest in rows:
            task, file, width, height, xyxy, labels = json.loads(rest)
            yield SnapshotImage(
                image_id,
                task,
                file,
                sha256,
                width,
                height,
                Side(side),
                tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in xyxy),
                tuple(labels),
            )

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM images").fetchone()[0])

    def __iter__(self) -> Iterator[SnapshotImage]:
        return self._select("ORDER BY id")

    def __contains__(self, image: object) -> bool:
        return isinstance(image, SnapshotImage) and self.get(image.id) == image

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelledImages):
            return NotImplemented
        return all(ours == theirs for ours, theirs in zip_longest(self, other))

    __hash__ = None  # type: ignore[assignment]  # what can be added to has none


def rounded(corners: Sequence[float]) -> Corners:
    """To hundredths of a pixel, so that writing and reading images gives the same ones."""
    x1, y1, x2, y2 = (round(corner, 2) for corner in corners)
    return x1, y1, x2, y2
