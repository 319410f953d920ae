"""Wrong labels made on purpose, of a COCO split whose labels are taken for right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from labelloop.boxes import iou_matrix

LOOSE_IOU = (0.4, 0.65)
MOVED_BY = 0.25  # of a side: the standard deviation of each edge of a loose box
FREE_IOU = 0.1
TRIES = 1000
SAME_PLACE = 0.5

XYXY = tuple[float, float, float, float]
Box = tuple[str, XYXY]


class Error(StrEnum):
    MISSING = "missing box"
    WRONG_LABEL = "wrong label"
    LOOSE = "loose box"
    SPURIOUS = "spurious box"


@dataclass(frozen=True)
class Labelled:
    """An image and its boxes, in pixels."""

    file: str
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Planted:
    """One error. places: where it shows, the true box and the wrong one where there are such."""

    file: str
    error: Error
    places: tuple[XYXY, ...]

    def is_at(self, file: str, box: XYXY) -> bool:
        """Whether a box of a file is on it."""
        if file != self.file:
            return False
        return bool(iou_matrix(np.array([box]), np.array(self.places)).max() >= SAME_PLACE)


def plant(images: Sequence[Labelled], share: float, seed: int) -> tuple[list[Labelled], list[Planted]]:
    """The images with wrong labels, and what is wrong.

    share: of all boxes; each kind of error is a quarter of them. No box has two errors.

    Raises:
        ValueError: there are too few boxes, or too few labels, for every kind.
    """
    rng = np.random.default_rng(seed)
    names = sorted({label for image in images for label, _ in image.boxes})
    every = [(i, b) for i, image in enumerate(images) for b in range(len(image.boxes))]
    count = round(share * len(every) / len(Error))
    if count < 1 or len(names) < 2:
        raise ValueError(f"{len(every)} boxes of {len(names)} labels are too few for {share:.0%} wrong ones")
    chosen = [every[index] for index in rng.choice(len(every), 3 * count, replace=False)]
    changes: dict[tuple[int, int], Box | None] = {}
    planted: list[Planted] = []
    for error, (i, b) in zip(np.repeat(np.array([*Error][:3], dtype=object), count), chosen, strict=True):
        image, (label, box) = images[i], images[i].boxes[b]
        match error:
            case Error.MISSING:
                changes[i, b], places = None, (box,)
            case Error.WRONG_LABEL:
                changes[i, b], places = (str(rng.choice([n for n in names if n != label])), box), (box,)
            case _:
                moved = _loosened(box, image, rng)
                changes[i, b], places = (label, moved), (box, moved)
        planted.append(Planted(image.file, error, places))
    changed = [
        replace(
            image,
            boxes=tuple(box for b, old in enumerate(image.boxes) if (box := changes.get((i, b), old))),
        )
        for i, image in enumerate(images)
    ]
    for _ in range(count):
        i, added = _spurious(images, changed, every, rng)
        changed[i] = replace(changed[i], boxes=(*changed[i].boxes, added))
        planted.append(Planted(images[i].file, Error.SPURIOUS, (added[1],)))
    return changed, planted


def _loosened(box: XYXY, image: Labelled, rng: np.random.Generator) -> XYXY:
    """With moved edges, so that it overlaps the true box by an IoU within LOOSE_IOU."""
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    for _ in range(TRIES):
        moved = _inside(np.array(box) + rng.normal(0, MOVED_BY, 4) * sides, image)
        if LOOSE_IOU[0] <= float(iou_matrix(np.array([box]), np.array([moved]))[0, 0]) <= LOOSE_IOU[1]:
            return moved
    raise ValueError(f"{image.file}: the box {box} cannot be made loose")


def _spurious(
    images: Sequence[Labelled],
    changed: Sequence[Labelled],
    every: Sequence[tuple[int, int]],
    rng: np.random.Generator,
) -> tuple[int, Box]:
    """An image and a new box on it, of some box's label and size, where nothing is."""
    for _ in range(TRIES):
        i = int(rng.integers(len(images)))
        image = images[i]
        of, b = every[int(rng.integers(len(every)))]
        label, (x1, y1, x2, y2) = images[of].boxes[b]
        width, height = x2 - x1, y2 - y1
        if width >= image.width or height >= image.height:
            continue
        x, y = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
        box = (float(x), float(y), float(x + width), float(y + height))
        there = np.array([b for _, b in (*image.boxes, *changed[i].boxes)]).reshape(-1, 4)
        if iou_matrix(np.array([box]), there).max(initial=0.0) <= FREE_IOU:
            return i, (label, box)
    raise ValueError("the images are too full for spurious boxes")


def _inside(box: np.ndarray, image: Labelled) -> XYXY:
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    x1, y1 = np.clip(low, 0, (image.width, image.height))
    x2, y2 = np.clip(high, 0, (image.width, image.height))
    return float(x1), float(y1), float(x2), float(y2)
