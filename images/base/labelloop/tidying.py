"""One object, one box: which of a model's boxes are not proposed because another marks the object already.

What is proposed, what the gate judges and what the pages show goes through `tidied`, always before the score
thresholds. So a box that is too faint to be shown can still hide another one, in all three places alike.

- Of boxes of two labels with an IoU over ACROSS_IOU the one with the higher score stays. Both stay if the
  label config says that the labels may overlap, or if the training data say so.
- Of boxes of one label the higher score stays when their IoU is over the label's limit, or when the smaller
  lies in the larger by more than the label's limit for that. Both limits are learned from the labels.
- Boxes go in which nobody could see anything: specks and slivers.

>>> found = Boxes.of([[0, 0, 40, 40], [0, 0, 40, 38], [80, 0, 120, 40]], [0.6, 0.4, 0.3], [0, 1, 1])
>>> from labelloop.labels import Label, LabelConfig
>>> config = LabelConfig("label", "image", "image", (Label("ace"), Label("king")))
>>> tidy = tidied(found, Rules.of(None, config))
>>> tidy.kept.tolist(), tidy.runner_up.tolist()
([True, False, True], [1, -1, -1])
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, Floats, iou_matrix, shares_inside
from labelloop.card import Card, Overlaps
from labelloop.labels import LabelConfig
from labelloop.runner_up import words

SPECK_PX = 3.0
"""A box that is less than this wide and less than this high is a speck."""
SLIVER_PX = 2.0
"""A box that is less than this wide, or less than this high, is a sliver."""

ACROSS_IOU = 0.7
SAME_IOU = 0.5, 0.9
"""The lowest and the highest limit for the IoU of two boxes of one label."""
INSIDE = 0.85, 1.0
"""The lowest and the highest limit for the share of the smaller of two boxes of one label in the larger."""
NESTED_IOU = 0.3
"""Below this IoU the smaller of two boxes is a part of the other's object, or another object before it."""
LOST = 0.01
"""A limit may cost this share of the labelled boxes."""
PRIOR_BOXES = 200
"""Limits are chosen as if so many more boxes had been labelled, none of which overlaps another."""
ROUNDING = 1e-4
CLOSE = 0.5
"""A runner-up is worth a word when its score is this share of the winner's."""


class Untidy(StrEnum):
    """Why a box is not proposed, in the order in which the pages tell it."""

    SECOND_LABEL = "second label"
    SECOND_BOX = "second box"
    NESTED = "nested"
    SLIVER = "sliver"
    SPECK = "speck"


def too_small(width: float, height: float) -> Untidy | None:
    """Whether a box of so many pixels is a speck or a sliver.

    >>> too_small(2.5, 2.5), too_small(40, 1.5), too_small(3, 2)
    (<Untidy.SPECK: 'speck'>, <Untidy.SLIVER: 'sliver'>, None)
    """
    if max(width, height) < SPECK_PX:
        return Untidy.SPECK
    return Untidy.SLIVER if min(width, height) < SLIVER_PX else None


@dataclass(frozen=True)
class Rules:
    """When a box hides another one, by the indices of their L labels.

    same: (L,), the limit for the IoU of two boxes of the label. inside: (L,), the limit for the share of the
    smaller of two boxes of the label that lies in the larger. free: (L,), whether boxes of the label may lie
    on those of any other one. across: (P, 2), pairs of labels that may lie on each other, the lower index
    first.
    """

    same: Floats
    inside: Floats
    free: NDArray[np.bool_]
    across: NDArray[np.int64]

    @classmethod
    def of(cls, card: Card | None, config: LabelConfig) -> "Rules":
        """The rules for a version's boxes, whose labels index config.labels.

        card: of the version. Without one, and without overlaps on it, the limits of labels that never overlap
        hold.
        """
        learned = (card.overlaps if card else None) or Overlaps()
        known = config.names_in(learned.iou)
        at = {name: index for index, name in enumerate(known)}
        pairs = [sorted((at[a], at[b])) for a, b in learned.across if a in at and b in at]
        return cls(
            same=np.array([learned.iou.get(name, SAME_IOU[0]) for name in known], dtype=np.float32),
            inside=np.array([learned.inside.get(name, INSIDE[0]) for name in known], dtype=np.float32),
            free=np.array([name in config.marks.overlapping for name in config.names], dtype=bool),
            across=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        )

    def iou_limits(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
        """(N,), the limit for the IoU of a box of each label in a (N,) and one of that in b (N,); infinite
        where they may lie on each other.
        """
        labels = len(self.same)
        paired = np.isin(np.minimum(a, b) * labels + np.maximum(a, b), self.across @ [labels, 1])
        across = np.where(self.free[a] | self.free[b] | paired, np.inf, ACROSS_IOU)
        return np.asarray(np.where(a == b, self.same[a], across), dtype=np.float32)

    def table(self) -> Floats:
        """(L, L), the limits for the IoU of all pairs of labels, as `iou_limits` gives them."""
        rows, columns = np.indices((len(self.same), len(self.same)))
        return self.iou_limits(rows, columns)


@dataclass(frozen=True)
class Tidied:
    """What becomes of N boxes.

    kept: (N,), whether each may be proposed. runner_up: (N,), for a box that is kept the label of the best
    box of another label that it hides; -1 without one. runner_up_score: (N,), that one's score. why: of each
    box that goes, the reason.
    """

    kept: NDArray[np.bool_]
    runner_up: NDArray[np.int64]
    runner_up_score: Floats
    why: Mapping[int, Untidy] = field(default_factory=dict)

    def counts(self, boxes: Boxes, thresholds: Floats) -> Counter[str]:
        """By reason, how many boxes go that would be proposed by their score. boxes: those that were tidied.
        thresholds: (L,), the lowest score at which a box of each label is proposed.
        """
        shown = boxes.scores >= thresholds[boxes.labels]
        return Counter(str(reason) for index, reason in self.why.items() if shown[index])

    def notes(self, boxes: Boxes, names: Sequence[str]) -> list[str]:
        """N words, a word for the labeller on each box: its close runner-up, or nothing."""
        close = (self.runner_up >= 0) & (self.runner_up_score >= CLOSE * boxes.scores)
        return [
            words(names[label], score) if worth_it else ""
            for worth_it, label, score in zip(
                close.tolist(), self.runner_up.tolist(), self.runner_up_score.tolist(), strict=True
            )
        ]


def tidied(boxes: Boxes, rules: Rules) -> Tidied:
    """Decides on the boxes of one image. Of two that mark one object the higher score stays; of equal scores
    the first.
    """
    count = len(boxes)
    runner_up, scores = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.float32)
    why: dict[int, Untidy] = {}
    for index, (width, height) in enumerate((boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).tolist()):
        reason = too_small(width, height)
        if reason is not None:
            why[index] = reason
    order = np.argsort(-boxes.scores, kind="stable")
    for better, worse, is_second in _on_one_object(boxes.select(order), rules):
        index, hidden = int(order[better]), int(order[worse])
        if index in why or hidden in why:
            continue
        if boxes.labels[hidden] == boxes.labels[index]:
            why[hidden] = Untidy.SECOND_BOX if is_second else Untidy.NESTED
            continue
        why[hidden] = Untidy.SECOND_LABEL
        if runner_up[index] < 0:
            runner_up[index], scores[index] = boxes.labels[hidden], boxes.scores[hidden]
    kept = np.ones(count, dtype=bool)
    kept[list(why)] = False
    return Tidied(kept, runner_up, scores, why)


def _on_one_object(boxes: Boxes, rules: Rules) -> Iterator[tuple[int, int, bool]]:
    """The pairs of boxes that mark one object, as the place of the first, that of a later one, and whether
    they do by their IoU; in the order of the boxes.
    """
    iou = iou_matrix(boxes.xyxy, boxes.xyxy)
    first, later = np.nonzero(np.triu(iou >= NESTED_IOU, k=1))  # below it no rule holds
    a, b = boxes.labels[first], boxes.labels[later]
    second = iou[first, later] > rules.iou_limits(a, b) + ROUNDING
    one, other = boxes.xyxy[first], boxes.xyxy[later]
    inter = (np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])).prod(axis=1)
    smaller = np.minimum(*((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other)))
    nested = (a == b) & (inter / smaller > rules.inside[a] + ROUNDING)
    found = second | nested
    yield from zip(first[found].tolist(), later[found].tolist(), second[found].tolist(), strict=True)


def learned(images: Iterable[tuple[Any, Sequence[int]]], names: Sequence[str]) -> Overlaps:
    """How far the labelled boxes of a project overlap.

    images: of each image the corners (N, 4) of its boxes in pixels, and their labels, which index `names`.

    A label's limits are the lowest that at most LOST of its boxes exceed, counting PRIOR_BOXES more, within
    SAME_IOU and INSIDE. Labels overlap each other when more of the rarer one's boxes than that lie on one of
    the other by more than ACROSS_IOU.
    """
    iou: dict[int, list[float]] = {}
    inside: dict[int, list[float]] = {}
    across: Counter[tuple[int, int]] = Counter()
    counts: Counter[int] = Counter()
    for corners, labels in images:
        counts.update(labels)
        xyxy = np.asarray(corners, dtype=np.float32).reshape(-1, 4)
        of = np.asarray(labels, dtype=np.int64)
        overlaps = np.triu(iou_matrix(xyxy, xyxy), k=1)  # each pair once: one box of it would be lost
        shares = shares_inside(xyxy, xyxy)
        first, second = np.nonzero(overlaps >= NESTED_IOU)
        best: dict[int, tuple[float, float]] = {}
        pairs: set[tuple[int, int, int]] = set()
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            if of[a] == of[b]:
                share = float(max(shares[a, b], shares[b, a]))
                so_far = best.get(b, (0.0, 0.0))
                best[b] = max(so_far[0], float(overlaps[a, b])), max(so_far[1], share)
            elif overlaps[a, b] > ACROSS_IOU:
                low, high = sorted((int(of[a]), int(of[b])))
                pairs.add((low, high, a if of[a] == low else b))
        for box, (most_iou, most_inside) in best.items():
            iou.setdefault(int(of[box]), []).append(most_iou)
            inside.setdefault(int(of[box]), []).append(most_inside)
        across.update((low, high) for low, high, _ in pairs)
    return Overlaps(
        iou={name: _limit(iou.get(i, []), counts[i], SAME_IOU) for i, name in enumerate(names)},
        inside={name: _limit(inside.get(i, []), counts[i], INSIDE) for i, name in enumerate(names)},
        across=[
            (names[a], names[b])
            for (a, b), count in sorted(across.items())
            if count > _may_lose(min(counts[a], counts[b]))
        ],
    )


def _may_lose(boxes: int) -> int:
    return int(LOST * (boxes + PRIOR_BOXES))


def _limit(overlaps: Sequence[float], boxes: int, bounds: tuple[float, float]) -> float:
    may_lose, (low, high) = _may_lose(boxes), bounds
    if len(overlaps) <= may_lose:
        return low
    return round(min(max(sorted(overlaps, reverse=True)[may_lose], low), high), 4)
