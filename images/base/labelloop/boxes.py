"""Bounding boxes: the one value type of the pipeline.

Boxes are in pixels of the image as a browser shows it (EXIF orientation applied), by corners x1 y1 x2 y2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[Any]

MIN_SIDE_PX = 1.0


@dataclass(frozen=True)
class Boxes:
    """N bounding boxes of one image.

    xyxy: (N, 4) float32, pixels, x1 y1 x2 y2. scores: (N,) float32, 0..1. labels: (N,) int64, indices into a
    list of classes or labels that the caller keeps.

    >>> boxes = Boxes.of([[0, 0, 10, 10], [20, 20, 40, 60]], [0.9, 0.4], [0, 1])
    >>> len(boxes), boxes.select(boxes.scores > 0.5).xyxy.tolist()
    (2, [[0.0, 0.0, 10.0, 10.0]])

    Raises:
        ValueError: the three arrays do not agree in length, or xyxy is not (N, 4).
    """

    xyxy: Floats
    scores: Floats
    labels: Ints

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.xyxy.shape != (n, 4) or self.labels.shape != (n,):
            raise ValueError(
                f"boxes need xyxy (N, 4), scores (N,), labels (N,); got {self.xyxy.shape}, "
                f"{self.scores.shape}, {self.labels.shape}"
            )

    @classmethod
    def of(cls, xyxy: Any, scores: Any, labels: Any) -> "Boxes":
        """From anything array-like. An empty `xyxy` becomes (0, 4); numbers too large for float32 become
        infinite.
        """
        with np.errstate(over="ignore"):
            return cls(
                np.asarray(xyxy, dtype=np.float32).reshape(-1, 4),
                np.asarray(scores, dtype=np.float32).reshape(-1),
                np.asarray(labels, dtype=np.int64).reshape(-1),
            )

    @classmethod
    def empty(cls) -> "Boxes":
        return cls.of([], [], [])

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, mask: Mask) -> "Boxes":
        """The boxes that a boolean mask (N,) or an index array picks, in its order."""
        return Boxes(self.xyxy[mask], self.scores[mask], self.labels[mask])

    def clip(self, width: int, height: int) -> "Boxes":
        """The boxes clipped to an image of width x height pixels.

        Boxes that are not finite, or are thinner than a pixel after clipping, are dropped.

        >>> Boxes.of([[-5, 0, 10, 10], [200, 0, 210, 10]], [1, 1], [0, 0]).clip(100, 50).xyxy.tolist()
        [[0.0, 0.0, 10.0, 10.0]]
        """
        finite: Mask = np.asarray(np.isfinite(self.xyxy).all(axis=1) & np.isfinite(self.scores))
        kept = self.select(finite)
        xyxy = np.clip(kept.xyxy, 0, np.array([width, height, width, height], dtype=np.float32))
        sides = xyxy[:, 2:] - xyxy[:, :2]
        wide_enough: Mask = np.asarray((sides >= MIN_SIDE_PX).all(axis=1))
        return Boxes(xyxy, kept.scores, kept.labels).select(wide_enough)


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of a (N, 4) with every box of b (M, 4): (N, M).

    >>> square, half, far = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]
    >>> iou_matrix(np.float32([square]), np.float32([square, half, far])).tolist()
    [[1.0, 0.5, 0.0]]
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    return np.asarray(np.divide(inter, union, out=np.zeros_like(inter), where=union > 0), dtype=np.float32)


def shares_inside(a: Floats, b: Floats) -> Floats:
    """The share of the area of every box of a (N, 4) that lies inside every box of b (M, 4): (N, M).

    >>> shares_inside(np.float32([[0, 0, 10, 10]]), np.float32([[5, 0, 50, 50], [20, 0, 30, 10]])).tolist()
    [[0.5, 0.0]]
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area = np.broadcast_to(np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1)[:, None], inter.shape)
    return np.asarray(np.divide(inter, area, out=np.zeros_like(inter), where=area > 0), dtype=np.float32)


def nms(boxes: Boxes, iou_threshold: float) -> Boxes:
    """Greedy non-maximum suppression within each label; the result is sorted by falling score.

    >>> twins = Boxes.of([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]], [0.5, 0.75, 0.25], [0, 0, 1])
    >>> kept = nms(twins, 0.6)
    >>> kept.scores.tolist(), kept.labels.tolist()
    ([0.75, 0.25], [0, 1])
    """
    ordered = boxes.select(np.argsort(-boxes.scores, kind="stable"))
    keep = np.ones(len(ordered), dtype=bool)
    overlaps = iou_matrix(ordered.xyxy, ordered.xyxy) > iou_threshold
    for i in range(len(ordered)):
        if keep[i]:
            keep[i + 1 :] &= ~(overlaps[i, i + 1 :] & (ordered.labels[i + 1 :] == ordered.labels[i]))
    return ordered.select(keep)
