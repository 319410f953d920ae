"""From which score on a box of each label is proposed: where correcting takes a person the least time."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, iou_matrix
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.effort import USUAL, Costs
from trainer.judging.matches import ACCEPTED, IOU_THRESHOLDS, without_ignored

LOWEST_THRESHOLD = 0.05
PRIOR_WRONG = 25.0
"""So many wrong boxes below the usual threshold are taken for granted, until the hold-out says otherwise."""
POOLED = 20.0
"""The other labels' boxes count for a label as if it had so many more boxes, which fare alike."""

Seconds = NDArray[np.float64]


def thresholds(
    classes: Sequence[str],
    images: Collection[SnapshotImage],
    found: Sequence[Boxes],
    usual: float,
    costs: Costs = USUAL,
) -> dict[str, float]:
    """By label, the threshold; labels of which no box lies on an object have none.

    found: of each image the boxes that are left when each object has one; their labels index `classes`.
    usual: SCORE_THRESHOLD, which is the highest that is chosen: a hold-out has too few boxes to justify a
    higher one.
    """
    parts = [np.empty((0, 3))]
    truths = np.zeros(len(classes))
    for image, boxes in zip(images, found, strict=True):
        counted = without_ignored(boxes, image, len(classes))
        parts.append(np.column_stack([counted.labels, counted.scores, shown(image, counted, costs)]))
        np.add.at(truths, list(image.labels), 1)
    labels, scores, seconds = np.concatenate(parts).T
    chosen = {}
    for label, name in enumerate(classes):
        own = labels == label
        if (seconds[own] < 0).any():
            weights = np.where(own, 1.0, min(1.0, POOLED / max(truths.sum() - truths[label], 1.0)))
            chosen[name] = cheapest(scores, seconds * weights, usual, costs)
    return chosen


def shown(image: SnapshotImage, boxes: Boxes, costs: Costs) -> Seconds:
    """(N,), the seconds that it costs to show each box; negative where that saves time.

    A box on an object, by an IoU of 0.5, saves its drawing. It is accepted from 0.7 on, else adjusted, and so
    is one of another label, which is relabelled. The higher scores choose first, objects of their own label
    before others. Any other box is deleted.
    """
    result = np.full(len(boxes), costs.delete, dtype=np.float64)
    truth = Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
    overlaps = iou_matrix(boxes.xyxy, truth.xyxy)
    same = boxes.labels[:, None] == truth.labels[None, :]
    free = np.ones(len(truth), dtype=bool)
    order = np.argsort(-boxes.scores, kind="stable")
    placed: set[int] = set()
    for candidates in (np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)):
        for index in order.tolist():
            row = np.where(free, candidates[index], 0.0)
            if index in placed or not row.size or row.max() < IOU_THRESHOLDS[0]:
                continue
            best = int(row.argmax())
            free[best] = False
            placed.add(index)
            good = same[index, best] and row[best] >= IOU_THRESHOLDS[ACCEPTED]
            result[index] = (costs.accept if good else costs.adjust) - costs.draw
    return result


def cheapest(scores: Seconds, seconds: Seconds, usual: float, costs: Costs = USUAL) -> float:
    """The threshold for one label, between LOWEST_THRESHOLD and `usual`.

    scores, seconds: (N,), of each box, and what it costs to show it, weighted. As if they had been seen as well,
    PRIOR_WRONG wrong boxes are spread evenly over the scores from LOWEST_THRESHOLD to `usual`. To go below
    that, a label's boxes there have to pay for deleting these.

    >>> few = np.array([0.9, 0.2, 0.06]), np.array([-6.5, -6.5, -6.5])
    >>> cheapest(*few, usual=0.3)
    0.3
    >>> many = np.array([0.9, *[0.1] * 8]), np.array([-6.5] * 9)
    >>> cheapest(*many, usual=0.3)
    0.1
    """
    lowest = min(LOWEST_THRESHOLD, usual)
    steps = np.unique(np.append(scores[(scores >= lowest) & (scores < usual)], usual))[::-1]
    rising = np.argsort(scores, kind="stable")
    from_here_on = np.append(np.cumsum(seconds[rising][::-1])[::-1], 0.0)
    spent = from_here_on[np.searchsorted(scores[rising], steps, side="left")]
    wrong = PRIOR_WRONG * (usual - steps) / (usual - lowest) if usual > lowest else np.zeros(len(steps))
    return float(steps[int(np.argmin(spent + wrong * costs.delete))])
