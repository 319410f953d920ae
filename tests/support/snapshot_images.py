"""Labelled images as a snapshot has them, with a picture's file behind them or none."""

from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from support.shapes import Picture

from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side


def image(number: int, side: Side = Side.TRAIN, boxes: int = 3) -> SnapshotImage:
    """The hashes' order is not that of the numbers."""
    return SnapshotImage(
        id=number,
        task=100 + number,
        file=f"volumes/images/{number}.jpg",
        sha256=f"{number * 7919 % 10007:064x}",
        width=320,
        height=240,
        side=side,
        xyxy=((1.01, 2.0, 30.55, 40.0),) * boxes,
        labels=(1,) * boxes,
    )


def square_image(number: int, xyxy: Any, labels: Any, side: Side = Side.HOLDOUT) -> SnapshotImage:
    """200 pixels wide and high. xyxy, labels: of its boxes, (M, 4) and (M,)."""
    boxes = tuple(tuple(float(edge) for edge in box) for box in xyxy)
    file = f"volumes/images/{number}.png"
    return SnapshotImage(
        number, number, file, f"{number:064d}", 200, 200, side, cast(Any, boxes), tuple(labels)
    )


def of_picture(
    number: int, made: Picture, path: Path, home: Path, side: Side, boxes: bool = True
) -> SnapshotImage:
    """A picture that was saved at `path`, below `home`. boxes: with its boxes, or as an empty one."""
    drawn = made.boxes if boxes else ()
    return SnapshotImage(
        id=number,
        task=number,
        file=str(path.relative_to(home)),
        sha256=sha256(path.read_bytes()).hexdigest(),
        width=made.image.width,
        height=made.image.height,
        side=side,
        xyxy=tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2, _ in drawn),
        labels=tuple(label for *_, label in drawn),
    )
