"""What a person has to do with the boxes that the editor shows, until they are the true ones."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from labelloop.boxes import Boxes, iou_matrix
from trainer.dashboard.agreement import Agreement, Finding, compare

LOOSEST = 0.3
SAME_SIZE = 0.1
"""A loose box whose width and height are this close to the true ones is moved; others get new corners."""
SECOND_IOU, SECOND_PART = 0.3, 0.7
"""A box that is to go is a second one on an object if it overlaps a true box by the one (IoU), or if the
other part of it lies in one of its label."""


class Why(StrEnum):
    """Why a person acts."""

    SECOND = "second boxes on one object"
    NOTHING = "boxes where nothing is"
    LABEL = "wrong labels"
    LOOSE = "loose boxes"
    MISSED = "objects without a box"
    VIEW = "seeing the whole image"
    SUBMIT = "submitting"


class What(StrEnum):
    RELABEL = "relabel"
    DELETE = "delete"
    MOVE = "move"
    RESIZE = "resize"
    DRAW = "draw"


@dataclass(frozen=True)
class Step:
    """One thing to do. shown: the index of the box that is there; None for a new one. box: x1 y1 x2 y2 in
    pixels, what it becomes. label: its index.
    """

    what: What
    why: Why
    shown: int | None
    box: tuple[float, float, float, float]
    label: int


def plan(truth: Boxes, shown: Boxes) -> list[Step]:
    """The steps from the shown boxes to the true ones: what goes, then what changes, then what is new.

    Of several boxes on one object the one that fits best stays.
    """
    order, overlap = list(What), iou_matrix(shown.xyxy, truth.xyxy)
    best_first = Boxes.of(shown.xyxy, overlap.max(axis=1, initial=0.0), shown.labels)
    steps = [step for row in compare(truth, best_first, LOOSEST) if (step := _step(row, truth, shown))]
    return sorted(steps, key=lambda step: (step.what is not What.DELETE, order.index(step.what), step.box))


def _step(row: Finding, truth: Boxes, shown: Boxes) -> Step | None:
    if row.truth is None:
        assert row.found is not None
        why = Why.SECOND if _is_second(row.found, truth, shown) else Why.NOTHING
        return Step(What.DELETE, why, row.found, _corners(shown, row.found), int(shown.labels[row.found]))
    box, label = _corners(truth, row.truth), int(truth.labels[row.truth])
    if row.found is None:
        return Step(What.DRAW, Why.MISSED, None, box, label)
    match row.kind:
        case Agreement.WRONG_LABEL:
            return Step(What.RELABEL, Why.LABEL, row.found, box, label)
        case Agreement.LOOSE:
            moved = _of_one_size(truth.xyxy[row.truth], shown.xyxy[row.found])
            return Step(What.MOVE if moved else What.RESIZE, Why.LOOSE, row.found, box, label)
    return None


def _is_second(found: int, truth: Boxes, shown: Boxes) -> bool:
    box = shown.xyxy[found]
    if (iou_matrix(box[None], truth.xyxy) >= SECOND_IOU).any():
        return True
    low, high = np.maximum(box[:2], truth.xyxy[:, :2]), np.minimum(box[2:], truth.xyxy[:, 2:])
    part = np.prod(np.maximum(high - low, 0.0), axis=1) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
    return bool(((part >= SECOND_PART) & (truth.labels == shown.labels[found])).any())


def _of_one_size(one: np.ndarray, other: np.ndarray) -> bool:
    sizes, others = one[2:] - one[:2], other[2:] - other[:2]
    return bool((np.abs(sizes - others) <= SAME_SIZE * sizes).all())


def _corners(boxes: Boxes, index: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in boxes.xyxy[index])
    return x1, y1, x2, y2
