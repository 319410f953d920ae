"""How far the boxes that two models show of the same images are apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from labelloop.boxes import Boxes, Floats, iou_matrix
from labelloop.detector import Detector
from labelloop.images import Pixels
from trainer.words import plural

MIN_IOU = 0.99
MAX_PX = 0.5
"""A small box whose edges are that near is the same box, though its IoU is lower."""
MAX_SCORE = 0.01
MAX_LOST = 0.01
"""Of two boxes with practically the same score either may hide the other: this share of boxes may differ."""

VISIBLE = 0.05
"""Boxes of lower scores are not compared where no thresholds are known yet."""
# A decoded photograph takes up to 100 MB.
IMAGES_AT_ONCE = 4


def of_both(one: Detector, other: Detector, images: Iterable[Pixels]) -> Iterator[tuple[Boxes, Boxes]]:
    """The boxes of two detectors in each image, of which IMAGES_AT_ONCE are in memory.

    Each looks once: whether boxes of two looks make a pair hangs on limits, and may change with the last bit.
    """
    one, other, rest = one.looking_once(), other.looking_once(), iter(images)
    while batch := list(islice(rest, IMAGES_AT_ONCE)):
        yield from zip(one.predict(batch), other.predict(batch), strict=True)


@dataclass(frozen=True)
class Limits:
    """Within which two boxes are the same: an IoU, or edges in pixels, and a score."""

    iou: float = MIN_IOU
    pixels: float = MAX_PX
    score: float = MAX_SCORE


@dataclass
class Gap:
    """How far two models' shown boxes are apart. boxes: how many were compared. lost: how many one model
    shows alone. iou, pixels, score: the worst of the others. apart: how many of them are no longer the same.

    limits: what is the same. tolerated: the share of boxes that may be apart.
    """

    images: int = 0
    boxes: int = 0
    lost: int = 0
    iou: float = 1.0
    pixels: float = 0.0
    score: float = 0.0
    apart: int = 0
    limits: Limits = Limits()
    tolerated: float = 0.0

    @property
    def same(self) -> bool:
        return self.apart <= self.tolerated * self.boxes and self.lost <= MAX_LOST * self.boxes

    def __str__(self) -> str:
        alone = f", {self.lost} shown by one of both alone" if self.lost else ""
        return (
            f"{plural(self.boxes, 'box', 'boxes')} on {plural(self.images, 'image')}: IoU at least "
            f"{self.iou:.4f}, edges within {self.pixels:.2f} px, scores within {self.score:.4f}{alone}"
        )

    def add(self, expected: Boxes, found: Boxes, thresholds: Floats) -> None:
        """thresholds: (labels,), from which on a box is shown. A box on one side of it may be on the other by
        the limit for scores.
        """
        self.images += 1
        self.boxes += int(np.count_nonzero(expected.scores >= thresholds[expected.labels]))
        for ours, theirs in ((expected, found), (found, expected)):
            shown = ours.select(ours.scores >= thresholds[ours.labels])
            rivals = theirs.select(theirs.scores >= thresholds[theirs.labels] - self.limits.score)
            for index in range(len(shown)):
                self._one(shown, index, rivals)

    def _one(self, shown: Boxes, index: int, rivals: Boxes) -> None:
        rivals = rivals.select(rivals.labels == shown.labels[index])
        overlaps = iou_matrix(shown.xyxy[index : index + 1], rivals.xyxy)[0]
        if not len(rivals) or overlaps.max() < 0.5:
            self.lost += 1
            return
        best = int(overlaps.argmax())
        iou, score = float(overlaps[best]), float(abs(rivals.scores[best] - shown.scores[index]))
        pixels = float(np.abs(rivals.xyxy[best] - shown.xyxy[index]).max())
        self.iou, self.pixels, self.score = (
            min(self.iou, iou),
            max(self.pixels, pixels),
            max(self.score, score),
        )
        limits = self.limits
        self.apart += (iou < limits.iou and pixels > limits.pixels) or score > limits.score
