"""Compares a model's boxes with a person's, box by box."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from labelloop.boxes import Boxes, iou_matrix
from trainer.judging.effort import Costs
from trainer.judging.matches import ACCEPTED, IOU_THRESHOLDS

OVERLAPS, GOOD = float(IOU_THRESHOLDS[0]), float(IOU_THRESHOLDS[ACCEPTED])


class Agreement(StrEnum):
    """What one of the model's boxes is beside those of a person; or one of the person's, which it missed."""

    RIGHT = "right"
    LOOSE = "loose"
    WRONG_LABEL = "wrong label"
    MISSED = "missed"
    SPURIOUS = "spurious"


_ACTION = {
    Agreement.RIGHT: "accept",
    Agreement.LOOSE: "adjust",
    Agreement.WRONG_LABEL: "relabel",
    Agreement.MISSED: "draw",
    Agreement.SPURIOUS: "delete",
}
"""The field of Costs that correcting it takes."""


@dataclass(frozen=True)
class Finding:
    """One pair, or a box without a partner.

    truth, found: the boxes' indices, None where there is none. iou: of the two, 0..1.
    """

    kind: Agreement
    truth: int | None
    found: int | None
    iou: float = 0.0


def compare(truth: Boxes, found: Boxes, loosest: float = OVERLAPS) -> list[Finding]:
    """Pairs each box with at most one of the other side, best scores first; both index the same labels.

    First, boxes of the same label are paired if their IoU is at least OVERLAPS, then boxes of different
    labels. Then boxes of the same label are paired if their IoU is at least `loosest`. The remaining boxes
    are missed or spurious. A pair with an IoU below GOOD is loose.
    """
    overlap = iou_matrix(truth.xyxy, found.xyxy)
    same = truth.labels[:, None] == found.labels[None, :]
    open_truth, open_found = np.ones(len(truth), bool), np.ones(len(found), bool)
    findings: list[Finding] = []
    for of_same_label, least in ((True, OVERLAPS), (False, OVERLAPS), (True, loosest)):
        for index in np.argsort(-found.scores, kind="stable"):
            allowed = open_truth & (same[:, index] == of_same_label)
            if not open_found[index] or not allowed.any():
                continue
            best = int(np.argmax(np.where(allowed, overlap[:, index], -1.0)))
            iou = float(overlap[best, index])
            if iou < least:
                continue
            open_truth[best] = open_found[index] = False
            kind = (
                Agreement.WRONG_LABEL
                if not of_same_label
                else Agreement.RIGHT
                if iou >= GOOD
                else Agreement.LOOSE
            )
            findings.append(Finding(kind, best, int(index), iou))
    findings += [Finding(Agreement.MISSED, int(index), None) for index in np.flatnonzero(open_truth)]
    findings += [Finding(Agreement.SPURIOUS, None, int(index)) for index in np.flatnonzero(open_found)]
    return findings


def seconds(findings: Sequence[Finding], costs: Costs) -> float:
    """The time that a person needs to correct all of them."""
    return sum(float(getattr(costs, _ACTION[finding.kind])) for finding in findings)


def confusion(pairs: Sequence[tuple[Boxes, Boxes]], labels: int) -> list[list[int]]:
    """The confusion matrix, (labels + 1, labels + 1) counts.

    Rows are the truth's labels, columns the model's. The last row and the last column stand for no box.
    """
    counts = [[0] * (labels + 1) for _ in range(labels + 1)]
    for truth, found in pairs:
        for finding in compare(truth, found):
            row = labels if finding.truth is None else int(truth.labels[finding.truth])
            column = labels if finding.found is None else int(found.labels[finding.found])
            counts[row][column] += 1
    return counts
