"""The simulated person, who turns an image's proposed boxes into the true ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from labelloop.boxes import Boxes, iou_matrix
from labelloop.labels import LabelConfig
from labelloop.regions import to_results
from trainer.judging.effort import Work
from trainer.simulate.options import Person

# A small preference for higher IoU, which decides between pairings that take equally long.
_PER_IOU_S = 1e-3


def correct(proposed: Boxes, truth: Boxes, person: Person) -> Work:
    """What a person does in an image without clicks: with the proposed boxes as in `keep`, and what lacks is
    drawn.
    """
    work, lacking = keep(proposed, truth, person)
    return work + Work(drawn=len(lacking))


def keep(proposed: Boxes, truth: Boxes, person: Person) -> tuple[Work, NDArray[np.int64]]:
    """What a person does with the proposed boxes of an image (labels index the same list as the truth's), and
    the indices of the true boxes that then still lack.

    Proposed and true boxes are paired one to one so that the work takes the least time; of equal times, the
    higher IoU decides. A pair with the right label is accepted at an IoU of accepted_iou or more, and
    adjusted at adjusted_iou or more. A pair with the wrong label is relabelled at accepted_iou or more.
    Proposed boxes without a pair are deleted. Where adjusting would take longer than
    deleting and drawing again, the person does the latter. So no image takes longer than deleting all boxes
    and drawing all.
    """
    overlap = iou_matrix(proposed.xyxy, truth.xyxy)
    right = proposed.labels[:, None] == truth.labels[None, :]
    well = overlap >= person.accepted_iou
    accepted, relabelled = right & well, ~right & well
    adjusted = right & ~well & (overlap >= person.adjusted_iou)
    anew = person.delete + person.draw
    saved = np.where(accepted, anew - person.accept, 0.0)
    saved = np.where(adjusted, anew - person.adjust, saved)
    saved = np.where(relabelled, anew - person.relabel, saved).clip(min=0.0)
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


def annotation(truth: Boxes, config: LabelConfig, width: int, height: int) -> list[dict[str, Any]]:
    """The annotation to submit: the true boxes in Label Studio's format."""
    results = to_results(truth, config, width, height)
    return [{key: value for key, value in result.items() if key != "score"} for result in results]
