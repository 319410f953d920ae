"""Boxes that mark nothing anybody could see: what they are, and an image without them.

A detector that learns them learns to draw them. The limits are in pixels of the image itself, whatever its
size: on a large photo things of ten pixels are worth labelling, but on none does a stripe of one pixel show
anything.

- A speck is less than SPECK_PX wide and high, a sliver less than SLIVER_PX in one of the two. In training and
  evaluation they are neither truth nor error.
- Of nested twins the smaller is dropped. Two boxes of one label are twins when they overlap by TWIN_IOU, or
  when one lies in the other (INSIDE of it does) and fills NESTED_IOU of it. Two things of one kind hardly
  ever do: what is behind another shows on some side, or not at all.

Boxes without any area inside the image are dropped before, when the annotation is read (labelloop.regions).
"""

from dataclasses import dataclass, replace

import numpy as np

from labelloop.boxes import Floats, iou_matrix
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.left_out import Kind

SPECK_PX = 3.0
SLIVER_PX = 2.0
TWIN_IOU = 0.9
NESTED_IOU = 0.7
INSIDE = 0.95


@dataclass(frozen=True)
class Junk:
    """One box. index: its position among the image's boxes. twin: that of the larger one of two."""

    index: int
    kind: Kind
    twin: int | None = None


def find(image: SnapshotImage) -> list[Junk]:
    """The junk among an image's boxes, by index."""
    if not image.labels:
        return []
    boxes = np.array(image.xyxy, dtype=np.float32).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    found = {
        int(index): Junk(int(index), Kind.SPECK if sides[index].max() < SPECK_PX else Kind.SLIVER)
        for index in np.flatnonzero(sides.min(axis=1) < SLIVER_PX)
    } | {int(index): Junk(int(index), Kind.SPECK) for index in np.flatnonzero(sides.max(axis=1) < SPECK_PX)}
    labels = np.array(image.labels)
    for label in set(image.labels):
        seen = [int(index) for index in np.flatnonzero(labels == label) if int(index) not in found]
        for inner, outer in _twins(boxes[seen]):
            found[seen[inner]] = Junk(seen[inner], Kind.NESTED, seen[outer])
    return [found[index] for index in sorted(found)]


def _twins(boxes: Floats) -> list[tuple[int, int]]:
    """Pairs of the position of a twin that is dropped and of the one that stays, largest boxes first."""
    if len(boxes) < 2:
        return []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = np.argsort(-areas, kind="stable")
    ranked, area = boxes[order], areas[order]
    iou = iou_matrix(ranked, ranked)
    # Intersection over the smaller box, which in a pair (row, column) of falling area is the column's.
    inside = iou * (area[:, None] + area[None, :]) / (1 + iou) / area[None, :]
    twins = np.triu((iou >= TWIN_IOU) | ((inside >= INSIDE) & (iou >= NESTED_IOU)), k=1)
    dropped: dict[int, int] = {}
    for larger in range(len(ranked)):
        if larger not in dropped:
            dropped.update(
                {
                    int(smaller): larger
                    for smaller in np.flatnonzero(twins[larger])
                    if int(smaller) not in dropped
                }
            )
    return [(int(order[smaller]), int(order[larger])) for smaller, larger in dropped.items()]


def without(image: SnapshotImage) -> SnapshotImage:
    """The image as it is trained on and scored. Its specks and slivers are among its ignored boxes."""
    junk = find(image)
    if not junk:
        return image
    indices = {box.index for box in junk}
    kept = [index for index in range(len(image.labels)) if index not in indices]
    unseen = [box.index for box in junk if box.kind is not Kind.NESTED]
    return replace(
        image,
        xyxy=tuple(image.xyxy[index] for index in kept),
        labels=tuple(image.labels[index] for index in kept),
        ignored=(*image.ignored, *((image.labels[index], image.xyxy[index]) for index in unseen)),
    )
