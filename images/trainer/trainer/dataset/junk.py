"""Boxes that mark nothing anybody could see: what they are, and an image without them.

A detector that learns them learns to draw them. The limits are in pixels of the image itself, whatever its
size: on a large photo things of ten pixels are worth labelling, but on none does a stripe of one pixel show
anything.

- Specks and slivers are what labelloop.tidying takes for them, which proposes none. In training and
  evaluation they are neither truth nor error.
- Of nested twins the smaller is dropped. Two boxes of one label are twins when they overlap by TWIN_IOU, or
  when one lies in the other (INSIDE of it does) and fills NESTED_IOU of it. Two things of one kind hardly
  ever do: what is behind another shows on some side, or not at all.

Boxes without any area inside the image are dropped before, when the annotation is read (labelloop.regions).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from labelloop.tidying import Untidy, too_small
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.left_out import Kind

TWIN_IOU = 0.9
NESTED_IOU = 0.7
INSIDE = 0.95
SHIFT = 1 - NESTED_IOU
"""Boxes whose IoU is NESTED_IOU or more begin within this share of the earlier one's width, and height."""


@dataclass(frozen=True)
class Junk:
    """One box. index: its position among the image's boxes. twin: that of the larger one of two."""

    index: int
    kind: Kind
    twin: int | None = None


def find(image: SnapshotImage) -> list[Junk]:
    """The junk among an image's boxes, by index."""
    found: dict[int, Junk] = {}
    for index, (x1, y1, x2, y2) in enumerate(image.xyxy):
        small = too_small(x2 - x1, y2 - y1)
        if small is not None:
            found[index] = Junk(index, Kind.SPECK if small is Untidy.SPECK else Kind.SLIVER)
    by_label: dict[int, list[int]] = {}
    for index, label in enumerate(image.labels):
        if index not in found:
            by_label.setdefault(label, []).append(index)
    for indices in by_label.values():
        found |= _smaller_twins(image.xyxy, indices)
    return [found[index] for index in sorted(found)]


def _smaller_twins(boxes: Sequence[Corners], indices: Sequence[int]) -> dict[int, Junk]:
    """By index, those of the boxes that are the smaller of twins. Of twins of a twin the largest stays."""
    twins: dict[int, list[int]] = {}
    for one, other in _twins(boxes, indices):
        twins.setdefault(one, []).append(other)
        twins.setdefault(other, []).append(one)
    dropped: dict[int, Junk] = {}
    for larger in sorted(twins, key=lambda index: (-_area(boxes[index]), index)):
        if larger not in dropped:
            dropped |= {
                smaller: Junk(smaller, Kind.NESTED, larger)
                for smaller in twins[larger]
                if smaller not in dropped
            }
    return dropped


def _twins(boxes: Sequence[Corners], indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Every pair of twins. Only boxes that begin near each other are compared, in the direction in which the
    boxes are spread more: twins begin within SHIFT of their size.
    """
    spreads = [max(boxes[i][side] for i in indices) - min(boxes[i][side] for i in indices) for side in (0, 1)]
    side = 0 if spreads[0] >= spreads[1] else 1
    order = sorted(indices, key=lambda index: boxes[index][side])
    for position, one in enumerate(order):
        until = boxes[one][side] + SHIFT * (boxes[one][side + 2] - boxes[one][side])
        for other in islice(order, position + 1, None):
            if boxes[other][side] > until:
                break
            if _are_twins(boxes[one], boxes[other]):
                yield one, other


def _are_twins(a: Corners, b: Corners) -> bool:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return False
    inter, areas = width * height, (_area(a), _area(b))
    iou = inter / (sum(areas) - inter)
    return iou >= TWIN_IOU or (iou >= NESTED_IOU and inter >= INSIDE * min(areas))


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


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
