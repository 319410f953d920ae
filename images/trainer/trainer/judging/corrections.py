"""What a person has to do with the boxes that are proposed for an image, to make them the true ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

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
    could = _Pairs.of(proposed, truth, costs, accepted_iou, adjusted_iou)
    worth = could.saved > 0
    rows, columns = linear_sum_assignment(could.saved + worth * _PER_IOU_S * could.overlap, maximize=True)
    paired = worth[rows, columns]
    rows, columns = rows[paired], columns[paired]
    work = Work(
        accepted=int(could.accepted[rows, columns].sum()),
        adjusted=int(could.adjusted[rows, columns].sum()),
        relabelled=int(could.relabelled[rows, columns].sum()),
        deleted=len(proposed) - len(rows),
    )
    return work, np.setdiff1d(np.arange(len(truth)), columns)


def added(
    proposed: Boxes,
    truth: Boxes,
    costs: Costs,
    accepted_iou: float = ACCEPTED_IOU,
    adjusted_iou: float = ADJUSTED_IOU,
) -> NDArray[np.float64]:
    """(N,), by how many seconds each of the proposed boxes changes what correcting the image takes, where the
    boxes of higher scores are proposed already; negative where it saves time. The sum over the boxes from any
    score on is what `correct` counts for them, less the drawing of all true boxes.
    """
    result = np.full(len(proposed), costs.delete, dtype=np.float64)
    saved = _Pairs.of(proposed, truth, costs, accepted_iou, adjusted_iou).saved
    for rows, columns in _groups(saved > 0):
        falling = rows[np.argsort(-proposed.scores[rows], kind="stable")]
        part, before = saved[np.ix_(falling, columns)], 0.0
        for count, row in enumerate(falling.tolist(), start=1):
            after = float(part[linear_sum_assignment(part[:count], maximize=True)].sum())
            result[row] -= after - before
            before = after
    return result


@dataclass(frozen=True)
class _Pairs:
    """What could be done with each of N proposed boxes as one of M true ones, (N, M) each.

    overlap: IoU. accepted, adjusted, relabelled: whether that would be done. saved: the seconds that it saves
    over deleting and drawing again; 0 where nothing.
    """

    overlap: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    adjusted: NDArray[np.bool_]
    relabelled: NDArray[np.bool_]
    saved: NDArray[np.float64]

    @classmethod
    def of(
        cls, proposed: Boxes, truth: Boxes, costs: Costs, accepted_iou: float, adjusted_iou: float
    ) -> "_Pairs":
        overlap = iou_matrix(proposed.xyxy, truth.xyxy)
        right = proposed.labels[:, None] == truth.labels[None, :]
        well = overlap >= accepted_iou
        accepted, relabelled = right & well, ~right & well
        adjusted = right & ~well & (overlap >= adjusted_iou)
        anew = costs.delete + costs.draw
        saved = np.where(accepted, anew - costs.accept, 0.0)
        saved = np.where(adjusted, anew - costs.adjust, saved)
        saved = np.where(relabelled, anew - costs.relabel, saved).clip(min=0.0)
        return cls(overlap, accepted, adjusted, relabelled, saved)


def _groups(linked: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows and the columns of each group that links hold together, so that pairs are within groups.

    linked: (N, M). Rows without a link are in no group.
    """
    rows, columns = np.nonzero(linked)
    if not len(rows):
        return
    count, every = len(linked), sum(linked.shape)
    graph = csr_matrix((np.ones(len(rows)), (rows, count + columns)), shape=(every, every))
    group = connected_components(graph, directed=False)[1]
    for one in np.unique(group[rows]):
        members = np.flatnonzero(group == one)
        yield members[members < count], members[members >= count] - count


def on_image(image: SnapshotImage, boxes: Boxes, thresholds: Sequence[float], costs: Costs) -> Work:
    """What a person does with those of the boxes that reach their label's threshold.

    boxes: what is left when each object has one box. Those on ignored boxes of the image do not count.
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    counted = without_ignored(boxes, image, len(limits))
    proposed = counted.select(counted.scores >= limits[counted.labels])
    return correct(proposed, true_boxes(image), costs)


def true_boxes(image: SnapshotImage) -> Boxes:
    """The true boxes of an image."""
    return Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
