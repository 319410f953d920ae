"""From which score on a box of each label is proposed: where correcting takes a person the least time."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.corrections import ACCEPTED_IOU, added, true_boxes
from trainer.judging.effort import CLICK_RIGHT, Costs
from trainer.judging.matches import without_ignored

LOWEST_THRESHOLD = 0.05
ADJUSTED_IOU = 0.5
"""A box that overlaps its object by less is not counted as one that a person adjusts: it saves too little."""
PRIOR_BOXES = 4.0
"""What holds without a hold-out counts for as much as so many boxes of a label."""
POOLED = 20.0
"""The other labels' boxes count for a label as if it had so many more boxes, which fare alike."""
FOLDS = 20
"""Images are left out in so many parts; up to so many images, one by one."""

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """The boxes of N images that may be proposed.

    labels, scores, image: (B,), of each box; image counts from 0. seconds: (B,), what it costs to show each
    beside those of higher scores, to a person who clicks on what lacks a box. truths: (N, L), how many
    objects of each label each image has. costs: the table by which it costs that, without clicks.
    """

    labels: NDArray[np.int64]
    scores: Seconds
    image: NDArray[np.int64]
    seconds: Seconds
    truths: NDArray[np.int64]
    costs: Costs

    @classmethod
    def of(
        cls,
        classes: int,
        images: Collection[SnapshotImage],
        found: Sequence[Boxes],
        costs: Costs,
        click_right: float = CLICK_RIGHT,
    ) -> "Candidates":
        """found: of each image the boxes that are left when each object has one; labels below `classes`.
        click_right: the chance that a click fetches a right box.
        """
        spent = costs.with_clicks(click_right)
        parts = [np.empty((0, 4))]
        truths = np.zeros((len(images), classes), dtype=np.int64)
        for number, (image, boxes) in enumerate(zip(images, found, strict=True)):
            counted = without_ignored(boxes, image, classes)
            where = np.full(len(counted), number)
            seconds = added(counted, true_boxes(image), spent, ACCEPTED_IOU, ADJUSTED_IOU)
            parts.append(np.column_stack([counted.labels, counted.scores, where, seconds]))
            np.add.at(truths[number], list(image.labels), 1)
        labels, scores, where, seconds = np.concatenate(parts).T
        return cls(labels.astype(np.int64), scores, where.astype(np.int64), seconds, truths, costs)

    def without(self, left_out: NDArray[np.bool_]) -> "Candidates":
        """Without some of the images; left_out: (N,)."""
        kept = ~left_out[self.image]
        truths = np.where(left_out[:, None], 0, self.truths)
        return Candidates(
            labels=self.labels[kept],
            scores=self.scores[kept],
            image=self.image[kept],
            seconds=self.seconds[kept],
            truths=truths,
            costs=self.costs,
        )

    def thresholds(self, usual: float, highest: float | None = None) -> dict[int, float]:
        """By label, the threshold; labels that have objects, but no box on one, have none.

        usual: SCORE_THRESHOLD. highest: no higher one is chosen; None: than the usual one, since a hold-out
        has too few boxes to justify more.
        """
        chosen, truths = {}, self.truths.sum(axis=0)
        for label, count in enumerate(truths.tolist()):
            own = self.labels == label
            start = min(break_even(self.costs), usual)
            if not count:
                chosen[label] = round(start, 4)
            elif (self.seconds[own] < 0).any():
                start = min(start, as_many(self.scores[own], count))
                chosen[label] = cheapest(self.scores, self._pooled(label), start, highest or usual)
        return chosen

    def refitted(self, start: Sequence[float], usual: float) -> list[float]:
        """(L,): the thresholds of a version that has not seen these images. start: those that it has had.

        They move as far as the boxes here justify, PRIOR_BOXES of which weigh as much as what was before. No
        threshold goes above `usual`, or the one that it was.
        """
        moved = list(start)
        for label, count in enumerate(self.truths.sum(axis=0).tolist()):
            if count or (self.labels == label).any():
                highest = max(usual, start[label])
                moved[label] = cheapest(self.scores, self._pooled(label), start[label], highest)
        return moved

    def _pooled(self, label: int) -> Seconds:
        """(B,): the seconds, those of other labels' boxes weighted as they count for this one."""
        truths = self.truths.sum(axis=0)
        others = min(1.0, POOLED / max(truths.sum() - truths[label], 1))
        return self.seconds * np.where(self.labels == label, 1.0, others)

    def thresholds_of_others(self, usual: float, highest: float | None = None) -> Iterator[dict[int, float]]:
        """For each image the thresholds that fit the other images, those of its fold left out. Seconds that
        are counted at them are no better than those on new images, however many labels a model has.
        """
        count = len(self.truths)
        folds = np.arange(count) % FOLDS
        by_fold = [
            self.without(folds == fold).thresholds(usual, highest) for fold in range(min(FOLDS, count))
        ]
        return (by_fold[fold] for fold in folds.tolist())

    def spent(self, usual: float, highest: float | None = None) -> float:
        """The seconds that showing boxes costs on all images together, on each at the thresholds that fit the
        others; negative where it saves time.
        """
        total = 0.0
        for number, chosen in enumerate(self.thresholds_of_others(usual, highest)):
            mine = self.image == number
            limits = np.array([chosen.get(label, usual) for label in range(self.truths.shape[1])])
            total += float(self.seconds[mine][self.scores[mine] >= limits[self.labels[mine]]].sum())
        return total


def break_even(costs: Costs) -> float:
    """The score from which on a box would be worth a look if its score were its chance to be right.

    >>> from trainer.judging.effort import CAREFUL, QUICK
    >>> round(break_even(QUICK), 3), round(break_even(CAREFUL), 3)
    (0.133, 0.274)
    """
    return costs.delete / (costs.delete + costs.draw - costs.accept)


def as_many(scores: Seconds, objects: int) -> float:
    """The score from which on a label has as many boxes as objects; 1 without a box. Models that were taught
    by a few images give right boxes low scores, which are no chances, and this finds out.

    >>> as_many(np.array([0.05, 0.2, 0.08]), objects=2)
    0.08
    """
    falling = np.sort(scores)[::-1]
    return float(falling[min(objects, len(falling)) - 1]) if len(falling) else 1.0


def cheapest(scores: Seconds, seconds: Seconds, start: float, highest: float) -> float:
    """The threshold for one label, between LOWEST_THRESHOLD and `highest`.

    scores, seconds: (N,), of each box, and what it costs to show it, weighted. start: the threshold that
    holds without a hold-out.

    It is the highest one that costs the least. The fewer boxes that save time it shows, the nearer it is then
    put to `start`, by PRIOR_BOXES, as a geometric mean.

    >>> cheapest(np.array([0.9] * 5 + [0.05] * 3), np.array([-6.5] * 8), start=0.133, highest=0.3)
    0.0693
    >>> cheapest(np.array([0.9] * 500 + [0.05] * 300), np.array([-6.5] * 800), start=0.133, highest=0.3)
    0.0502
    """
    lowest = min(LOWEST_THRESHOLD, highest)
    steps = np.unique(np.append(scores[scores < highest], highest))[::-1]
    rising = np.argsort(scores, kind="stable")
    starts = np.searchsorted(scores[rising], steps, side="left")
    spent, saving = (
        np.append(np.cumsum(values[rising][::-1])[::-1], 0.0)[starts]
        for values in (seconds, np.clip(-seconds, 0.0, None))
    )
    best = int(np.argmin(spent))
    boxes = saving[best] / np.max(-seconds, initial=np.finfo(float).tiny)
    prior = PRIOR_BOXES / (PRIOR_BOXES + boxes)
    near = max(start, lowest) ** prior * max(float(steps[best]), lowest) ** (1 - prior)
    return round(float(near), 4)
