"""From which score on a box of each label is proposed: where correcting takes a person the least time."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, iou_matrix
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.effort import Costs
from trainer.judging.matches import ACCEPTED, IOU_THRESHOLDS, without_ignored

LOWEST_THRESHOLD = 0.05
PRIOR_BOXES = 2.0
"""SCORE_THRESHOLD counts for as much as so many boxes of a label."""
POOLED = 20.0
"""The other labels' boxes count for a label as if it had so many more boxes, which fare alike."""
DOUBT = 0.5
"""A lower threshold has to save more than so many standard errors of what it saves."""

Seconds = NDArray[np.float64]


def thresholds(
    classes: Sequence[str],
    images: Collection[SnapshotImage],
    found: Sequence[Boxes],
    usual: float,
    costs: Costs,
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
            chosen[name] = cheapest(scores, seconds * weights, usual)
    return chosen


def shown(image: SnapshotImage, boxes: Boxes, costs: Costs) -> Seconds:
    """(N,), the seconds that it costs to show each box; negative where that saves time.

    A box on an object saves its drawing: it is accepted from an IoU of 0.7 on, adjusted from 0.5 on, and
    relabelled where it has another label and an IoU of 0.7. The higher scores choose first, objects of their
    own label before others. Any other box is deleted.
    """
    result = np.full(len(boxes), costs.delete, dtype=np.float64)
    truth = Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
    overlaps = iou_matrix(boxes.xyxy, truth.xyxy)
    same = boxes.labels[:, None] == truth.labels[None, :]
    free = np.ones(len(truth), dtype=bool)
    order = np.argsort(-boxes.scores, kind="stable")
    placed: set[int] = set()
    well = overlaps >= IOU_THRESHOLDS[ACCEPTED]
    near = overlaps >= IOU_THRESHOLDS[0]
    for candidates, spent in (
        (same & near, np.where(well, costs.accept, costs.adjust)),
        (~same & well, np.full(overlaps.shape, costs.relabel)),
    ):
        for index in order.tolist():
            row = np.where(free & candidates[index], overlaps[index], 0.0)
            if index in placed or not row.any():
                continue
            best = int(row.argmax())
            free[best] = False
            placed.add(index)
            result[index] = spent[index, best] - costs.draw
    return result


def cheapest(scores: Seconds, seconds: Seconds, usual: float) -> float:
    """The threshold for one label, between LOWEST_THRESHOLD and `usual`.

    scores, seconds: (N,), of each box, and what it costs to show it, weighted.

    It is the highest one that costs no more than the cheapest does, give or take DOUBT standard errors of the
    difference, in which each box between the two counts as an event of its own. The fewer boxes that save
    time it shows, the nearer it is then put to `usual`, by PRIOR_BOXES, as a geometric mean.

    >>> cheapest(np.array([0.9] * 5 + [0.05] * 3), np.array([-6.5] * 8), usual=0.3)  # eight boxes
    0.0715
    >>> cheapest(np.array([0.9] * 500 + [0.05] * 300), np.array([-6.5] * 800), usual=0.3)
    0.0502
    """
    lowest = min(LOWEST_THRESHOLD, usual)
    steps = np.unique(np.append(scores[(scores >= lowest) & (scores < usual)], usual))[::-1]
    rising = np.argsort(scores, kind="stable")
    starts = np.searchsorted(scores[rising], steps, side="left")
    spent, squares, saving = (
        np.append(np.cumsum(values[rising][::-1])[::-1], 0.0)[starts]
        for values in (seconds, seconds**2, np.clip(-seconds, 0.0, None))
    )
    best = int(np.argmin(spent))
    errors = np.sqrt(np.maximum(squares[best] - squares[: best + 1], 0.0))
    chosen = int(np.argmax(spent[: best + 1] - spent[best] <= DOUBT * errors))
    boxes = saving[chosen] / np.max(-seconds, initial=np.finfo(float).tiny)
    prior = PRIOR_BOXES / (PRIOR_BOXES + boxes)
    return round(float(usual**prior * steps[chosen] ** (1 - prior)), 4)
