"""What a person has to do with the boxes that are proposed for an image, to make them the true ones."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.optimize import linear_sum_assignment

from labelloop.boxes import Boxes, iou_matrix
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.effort import Costs, Work
from trainer.judging.matches import ACCEPTED, IOU_THRESHOLDS, without_ignored

ACCEPTED_IOU = float(IOU_THRESHOLDS[ACCEPTED])
ADJUSTED_IOU = 0.3
_PER_IOU_S = 1e-3
"""A small preference for higher IoU, which decides between pairings that take equally long."""


class Corrections(BaseModel):
    """rows: of each image the counts of Work, in the order of its fields; without clicks in what earlier
    releases wrote.
    """

    rows: list[tuple[int, ...]]

    @classmethod
    def of(cls, work: Iterable[Work]) -> "Corrections":
        return cls(rows=[astuple(each) for each in work])

    def __add__(self, other: "Corrections") -> "Corrections":
        return Corrections(rows=[*self.rows, *other.rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def work(self) -> list[Work]:
        """Of each image what a person does."""
        return [Work(*row) for row in self.rows]

    def seconds(self, costs: Costs) -> NDArray[np.float64]:
        """(images,), the seconds that each image takes."""
        return np.array([work.seconds(costs) for work in self.work], dtype=np.float64)


def correct(
    proposed: Boxes,
    truth: Boxes,
    costs: Costs,
    accepted_iou: float = ACCEPTED_IOU,
    adjusted_iou: float = ADJUSTED_IOU,
) -> Work:
    """What a person does in an image without clicks: with the proposed boxes as in `keep`, and what lacks is
    drawn. So no image takes longer than deleting all boxes and drawing all.
    """
    work, lacking = keep(proposed, truth, costs, accepted_iou, adjusted_iou)
    return work + Work(drawn=len(lacking))


def keep(
    proposed: Boxes, truth: Boxes, costs: Costs, accepted_iou: float, adjusted_iou: float
) -> tuple[Work, NDArray[np.int64]]:
    """What a person does with the proposed boxes of an image (labels index the same list as the truth's), and
    the indices of the true boxes that then still lack.

    Proposed and true boxes are paired one to one so that the work takes the least time; of equal times, the
    higher IoU decides. A pair with the right label is accepted at an IoU of accepted_iou or more, and
    adjusted at adjusted_iou or more. A pair with the wrong label is relabelled at accepted_iou or more.
    Proposed boxes without a pair are deleted. Where adjusting would take longer than deleting and drawing
    again, the person does the latter.
    """
    overlap = iou_matrix(proposed.xyxy, truth.xyxy)
    right = proposed.labels[:, None] == truth.labels[None, :]
    well = overlap >= accepted_iou
    accepted, relabelled = right & well, ~right & well
    adjusted = right & ~well & (overlap >= adjusted_iou)
    anew = costs.delete + costs.draw
    saved = np.where(accepted, anew - costs.accept, 0.0)
    saved = np.where(adjusted, anew - costs.adjust, saved)
    saved = np.where(relabelled, anew - costs.relabel, saved).clip(min=0.0)
    worth = saved > 0
    rows, columns = linear_sum_assignment(saved + worth * _PER_IOU_S * overlap, maximize=True)
    paired = worth[rows, columns]
    rows, columns = rows[paired], columns[paired]
    work = Work(
        accepted=int(accepted[rows, columns].sum()),
        adjusted=int(adjusted[rows, columns].sum()),
        relabelled=int(relabelled[rows, columns].sum()),
        deleted=len(proposed) - len(rows),
    )
    return work, np.setdiff1d(np.arange(len(truth)), columns)


def on_image(image: SnapshotImage, boxes: Boxes, thresholds: Sequence[float], costs: Costs) -> Work:
    """What a person does with those of the boxes that reach their label's threshold.

    boxes: what is left when each object has one box. Those on ignored boxes of the image do not count.
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    counted = without_ignored(boxes, image, len(limits))
    proposed = counted.select(counted.scores >= limits[counted.labels])
    truth = Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
    return correct(proposed, truth, costs)
