"""A second look at an image: at its mirror image.

A network that was taught by images and their mirror images should find the same in both, but each look errs
in its own way. The mean of two boxes lies better on their object, and what one look alone sees is less sure.
"""

import numpy as np

from labelloop.boxes import Boxes, iou_matrix
from labelloop.images import Pixels

SAME_IOU = 0.6
"""From this IoU on boxes of one label, one of each look, may mark one object."""
ALONE = 0.7
"""What a box's score is multiplied by when only one look has it."""


def mirror(image: Pixels) -> Pixels:
    """The image with left and right exchanged, without a copy of it."""
    return image[:, ::-1]


def mirror_back(boxes: Boxes, width: int) -> Boxes:
    """Boxes of the mirror image, as they lie in the image. width: of the image, in pixels.

    >>> mirror_back(Boxes.of([[10, 0, 40, 20]], [0.5], [0]), width=100).xyxy.tolist()
    [[60.0, 0.0, 90.0, 20.0]]
    """
    left, top, right, bottom = boxes.xyxy.T
    return Boxes.of(np.stack([width - right, top, width - left, bottom], axis=1), boxes.scores, boxes.labels)


def together(one: Boxes, other: Boxes) -> Boxes:
    """What two looks at one image found, each of which has one box for an object.

    Boxes of one label are paired one to one, those with the highest IoU first. A pair becomes one box: the
    mean of both, weighted by their scores, with the higher of these. Boxes without a partner stay, with ALONE
    of their score.

    >>> seen = Boxes.of([[0, 0, 10, 10], [50, 0, 60, 10]], [0.9, 0.4], [0, 0])
    >>> both = together(seen, Boxes.of([[2, 0, 12, 10]], [0.3], [0]))
    >>> both.xyxy.round(3).tolist(), both.scores.round(3).tolist()
    ([[0.5, 0.0, 10.5, 10.0], [50.0, 0.0, 60.0, 10.0]], [0.9, 0.28])
    """
    mine, its = _paired(one, other)
    scores = np.stack([one.scores[mine], other.scores[its]])
    weights = scores / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny)
    means = weights[0][:, None] * one.xyxy[mine] + weights[1][:, None] * other.xyxy[its]
    rest = [
        boxes.select(np.delete(np.arange(len(boxes)), paired))
        for boxes, paired in ((one, mine), (other, its))
    ]
    return Boxes.of(
        np.concatenate([means, *(boxes.xyxy for boxes in rest)]),
        np.concatenate([scores.max(axis=0, initial=0.0), *(ALONE * boxes.scores for boxes in rest)]),
        np.concatenate([one.labels[mine], *(boxes.labels for boxes in rest)]),
    )


def _paired(one: Boxes, other: Boxes) -> tuple[list[int], list[int]]:
    """The indices of the boxes that make a pair, of each look."""
    overlap = iou_matrix(one.xyxy, other.xyxy)
    overlap[one.labels[:, None] != other.labels[None, :]] = 0
    rows, columns = np.nonzero(overlap >= SAME_IOU)
    falling = np.argsort(-overlap[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[falling].tolist(), columns[falling].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return list(pairs), list(pairs.values())
