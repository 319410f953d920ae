"""A point, or a rough box, becomes a box that sits on the object there.

Among all raw boxes of a network, hundreds lie around any point, and those of an unknown object are weak. So
each possible box is judged by how many raw boxes lie nearly on it, with how much evidence; by how near its
centre is to the point; and by the sizes that the label's boxes usually have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelloop.box_sizes import Usual
from labelloop.boxes import Floats, iou_matrix
from labelloop.raw_boxes import RawBoxes

VOTERS = 400
"""So many raw boxes around a point are looked at, those with the most evidence."""
ON_IOU = 0.7
"""A raw box speaks for boxes that it overlaps by more than this, and the more, the closer it lies."""
FLOOR = 0.02
"""Less evidence than this is noise."""
UNSEEN = 0.01
"""With less evidence for the best box than this, the network sees nothing at the point."""
TRACE = 0.001
"""Boxes with less evidence than this are not offered at all."""
STRONG = 3.0
"""Where the label's sizes are known, another box needs so much evidence to be offered before another size."""
OFF_CENTRE = 0.05
"""How far from the middle of an object people click, as a share of its sides (a standard deviation)."""
OFF_CENTRE_OF_ROUGH = 0.1
ROUGH_SPREAD = (0.2, 0.3)
"""How far a rough box is from the object in size and shape, as standard deviations of logarithms."""
SIZES_COUNT = 1.5
CLASS_COUNTS = 0.25
BY_CHANCE = 0.15
"""While no size is known: the larger a box, the sooner a point is near its middle by chance. So much of the
logarithm of its area counts against it."""
ANOTHER_IOU = 0.6
"""Two choices overlap less than this."""
LARGER, SMALLER = 1.5, 0.67
"""A click at the same place gets the first box this much larger or smaller, too."""
UNSEEN_SIDE = 0.05
"""What the network doesn't see at all is small: the share of the image's longer side that is offered."""
_SMALLEST, _LARGEST, _STEPS = 0.03, 0.9, 20
_SHAPES = (0.64, 0.8, 1.0, 1.25, 1.56)
_SHIFTS = ((0.0, 0.0), (-0.05, 0.0), (0.05, 0.0), (0.0, -0.05), (0.0, 0.05))


@dataclass(frozen=True)
class Pointed:
    """Where an object is, in pixels.

    x, y: near its middle. size: width and height of a rough box that was drawn around it; None for a click.
    """

    x: float
    y: float
    size: tuple[float, float] | None = None


@dataclass(frozen=True)
class Choices:
    """Boxes for one point, the best first.

    xyxy: (N, 4), pixels, N >= 1. scores: (N,), 0..1, of evidence; 0 where the network sees nothing.
    """

    xyxy: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)


def choices(
    at: Pointed,
    seen: Sequence[RawBoxes],
    weights: Sequence[NDArray[np.float32]],
    usual: Usual | None,
    size: tuple[int, int],
    most: int = 6,
) -> Choices:
    """Boxes for an object, the best first, each of another size than those before it.

    seen: the raw boxes of each look at the image, in its pixels. weights: for each look (N,), how much each
    raw box's evidence counts. usual: the sizes of the label's boxes. size: width and height of the image.
    """
    voters, evidence = _around(at, seen, weights, size)
    boxes = np.concatenate([voters, _grid(at, usual, size)])
    boxes = _inside(boxes, size)
    votes = _votes(boxes, voters, evidence)
    off = _off_centre(boxes, at)
    sides = (boxes[:, 2:] - boxes[:, :2]) / np.float32(max(size))
    expected = _expected(at, usual, sides, size)
    if expected is None:
        expected = -BY_CHANCE * np.log(sides.prod(axis=1))
    worth = np.log(votes + FLOOR) - off + expected
    best = int(np.argmax(worth))
    is_seen = bool(votes[best] >= UNSEEN)
    first = boxes[[best]] if is_seen else usual_box(at, usual, size)
    by_worth = np.argsort(-worth, kind="stable")
    by_worth = by_worth[votes[by_worth] >= TRACE]
    sizes = [usual_box(at, usual, size), _scaled(first, LARGER, size)]
    known = usual is not None and at.size is None
    sure = votes[by_worth] >= (STRONG if known else TRACE)
    strong, weak = by_worth[sure], by_worth[~sure]
    ordered = np.concatenate([first, boxes[strong], *sizes, boxes[weak], _scaled(first, SMALLER, size)])
    kept = _apart(ordered, most)
    unseen = np.zeros(len(sizes)), np.zeros(1)
    told = np.concatenate([votes[[best]] * is_seen, votes[strong], unseen[0], votes[weak], unseen[1]])
    return Choices(ordered[kept], np.asarray(1 - np.exp(-told[kept]), dtype=np.float32))


def weights_for(raw: RawBoxes, classes: Sequence[int]) -> NDArray[np.float32]:
    """(N,): how much each raw box speaks for a label. classes: the model's that were trained as that label;
    without any, each box counts as much.

    The class's score counts little, for a box of another name may be this object's all the same.
    """
    if not classes:
        return np.ones(len(raw), dtype=np.float32)
    score = raw.classes[:, list(classes)].max(axis=1).astype(np.float32)
    return np.asarray(score**CLASS_COUNTS, dtype=np.float32)


def usual_box(at: Pointed, usual: Usual | None, size: tuple[int, int]) -> Floats:
    """(1, 4): the box around a point in the size that was drawn, that is usual, or that is offered unseen."""
    longer = max(size)
    side = UNSEEN_SIDE, UNSEEN_SIDE
    width, height = at.size or tuple(longer * one for one in (usual.size if usual is not None else side))
    box = [[at.x - width / 2, at.y - height / 2, at.x + width / 2, at.y + height / 2]]
    return _inside(np.array(box, dtype=np.float32), size)


def _apart(boxes: Floats, most: int) -> list[int]:
    """Of boxes, the best first, the indices of those that overlap less than ANOTHER_IOU with any before."""
    left = np.arange(len(boxes))
    found: list[int] = []
    while len(left) and len(found) < most:
        found.append(int(left[0]))
        left = left[iou_matrix(boxes[left], boxes[left[:1]])[:, 0] < ANOTHER_IOU]
    return found


def _scaled(box: Floats, by: float, size: tuple[int, int]) -> Floats:
    """A box (1, 4), larger or smaller about its middle."""
    middle, half = (box[:, :2] + box[:, 2:]) / 2, by * (box[:, 2:] - box[:, :2]) / 2
    return _inside(np.concatenate([middle - half, middle + half], axis=1), size)


def _around(
    at: Pointed, seen: Sequence[RawBoxes], weights: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """The raw boxes around a point and their evidence, the strongest of each look."""
    boxes, evidence = [], []
    for raw, weight in zip(seen, weights, strict=True):
        inside = _inside(raw.xyxy, size)
        sides = inside[:, 2:] - inside[:, :2]
        middle = (inside[:, 2:] + inside[:, :2]) / 2
        near = (np.abs(middle - (at.x, at.y)) < 0.4 * sides).all(axis=1) & (sides > 2).all(axis=1)
        told = raw.evidence[near] * weight[near]
        best = np.argsort(-told, kind="stable")[:VOTERS]
        boxes.append(inside[near][best])
        evidence.append(told[best])
    if not boxes:
        return np.empty((0, 4), np.float32), np.empty(0, np.float32)
    return np.concatenate(boxes), np.concatenate(evidence)


def _votes(boxes: Floats, voters: Floats, evidence: Floats) -> Floats:
    if not len(voters):
        return np.zeros(len(boxes), np.float32)
    close = np.clip((iou_matrix(boxes, voters) - ON_IOU) / (1 - ON_IOU), 0, None)
    return np.asarray(close @ evidence, dtype=np.float32)


def _off_centre(boxes: Floats, at: Pointed) -> Floats:
    """(N,): how unlikely a click at the point is for each box."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    middle = (boxes[:, 2:] + boxes[:, :2]) / 2
    off = (((middle - (at.x, at.y)) / sides) ** 2).sum(axis=1)
    deviation = OFF_CENTRE if at.size is None else OFF_CENTRE_OF_ROUGH
    return np.asarray(np.minimum(off, 0.25) / (2 * deviation**2), dtype=np.float32)


def _expected(at: Pointed, usual: Usual | None, sides: Floats, size: tuple[int, int]) -> Floats | None:
    """(N,): how likely boxes of these sizes are, by what was drawn and by what is usual; None: unknown."""
    found = None if usual is None else SIZES_COUNT * usual.likelihood(sides)
    if at.size is not None:
        drawn = Usual((at.size[0] / max(size), at.size[1] / max(size)), ROUGH_SPREAD).likelihood(sides)
        found = drawn if found is None else found / 2 + drawn
    return found


def _grid(at: Pointed, usual: Usual | None, size: tuple[int, int]) -> Floats:
    """Boxes of many sizes and shapes around a point, finer ones about the size that is expected."""
    longer = max(size)
    sides = longer * np.geomspace(_SMALLEST, _LARGEST, _STEPS)
    found = [_boxes(at, sides, np.array(_SHAPES))]
    about = at.size
    if about is None and usual is not None:
        about = usual.size[0] * longer, usual.size[1] * longer
    if about is not None:
        side, shape = float(np.sqrt(about[0] * about[1])), about[0] / about[1]
        found.append(_boxes(at, side * np.geomspace(0.6, 1.6, 9), shape * np.array([0.75, 1.0, 1.33])))
    return np.concatenate(found)


def _boxes(at: Pointed, sides: NDArray[np.float64], shapes: NDArray[np.float64]) -> Floats:
    side, shape = sides[:, None, None], np.sqrt(shapes)[None, :, None]
    shifts = np.array(_SHIFTS)
    width, height = side * shape * np.ones(len(shifts)), side / shape * np.ones(len(shifts))
    x, y = at.x + shifts[:, 0] * width, at.y + shifts[:, 1] * height
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=-1)
    return corners.reshape(-1, 4).astype(np.float32)


def _inside(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Boxes clipped to an image, and at least two pixels wide."""
    limits = np.array([*size, *size], dtype=np.float32)
    low = np.clip(boxes[:, :2], 0, np.maximum(limits[:2] - 2, 0))
    high = np.minimum(np.maximum(boxes[:, 2:], low + 2), limits[2:])
    return np.asarray(np.concatenate([low, high], axis=1), dtype=np.float32)
