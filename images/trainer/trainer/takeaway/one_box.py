"""One object, one box, as operations of a graph: what `labelloop.tidying` and mmdet's suppression do to
candidates.

Both are greedy: the box with the highest score stays and hides those below it that mark the same object, then
the next that is left. Told as a matrix of which box would hide which, the same result is the fixed point of
"a box stays when none that stays hides it". ROUNDS of that settle chains of so many boxes, each hidden by the
one before.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labelloop.boxes import MIN_SIDE_PX
from labelloop.tidying import NESTED_IOU, ROUNDING, SLIVER_PX, SPECK_PX, Rules

ROUNDS = 24
_NEVER = 9.0


class OneBox(nn.Module):
    """Scores of boxes that do not stay become 0.

    mmdet_iou: over which a class's weaker box goes first. shared_iou: over which a label's goes, where
    classes share labels; None where none does. rules: what the backend tidies by, by the indices of labels.
    """

    to_label: Tensor
    limits: Tensor
    inside: Tensor

    def __init__(
        self, mmdet_iou: float, shared_iou: float | None, to_label: Sequence[int | None], rules: Rules
    ) -> None:
        super().__init__()
        self.mmdet_iou, self.shared_iou = mmdet_iou, shared_iou
        self.register_buffer("to_label", torch.tensor([-1 if label is None else label for label in to_label]))
        limits = torch.as_tensor(rules.table()).clone()
        limits[torch.isinf(limits)] = _NEVER
        self.register_buffer("limits", limits)
        self.register_buffer("inside", torch.as_tensor(rules.inside).clone())

    def forward(
        self, boxes: Tensor, scores: Tensor, classes: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """boxes: (n, k, 4) in pixels of the given image, by falling score. scores, classes: (n, k). size:
        (2,), the given image's height and width. Returns: boxes clipped to the image, scores, and labels.
        """
        count = boxes.shape[1]
        later = torch.arange(count).view(-1, 1) < torch.arange(count).view(1, -1)
        same_class = classes.unsqueeze(2) == classes.unsqueeze(1)
        iou, _ = _overlaps(boxes)
        scores = _staying(scores, later & same_class & (iou > self.mmdet_iou))
        labels = self.to_label[classes]
        same_label = labels.unsqueeze(2) == labels.unsqueeze(1)
        scores = scores * (labels >= 0)
        if self.shared_iou is not None:
            scores = _staying(scores, later & same_label & (iou > self.shared_iou))
        labels = labels.clamp(min=0)
        high = size.flip(0).float().repeat(2)
        boxes = torch.minimum(boxes.clamp(min=0.0), high)
        iou, inside = _overlaps(boxes)
        scores = scores * _visible(boxes)
        hides = iou > self.limits[labels.unsqueeze(2), labels.unsqueeze(1)] + ROUNDING
        nested = same_label & (iou >= NESTED_IOU) & (inside > self.inside[labels].unsqueeze(2) + ROUNDING)
        return boxes, _staying(scores, later & (hides | nested)), labels


def _staying(scores: Tensor, hides: Tensor) -> Tensor:
    """The scores, 0 for boxes that others hide. hides: (n, k, k), whether a box hides a later one."""
    alive = (scores > 0).float()
    matrix = hides.float()
    stays = alive
    for _ in range(ROUNDS):
        stays = alive * (torch.matmul(stays.unsqueeze(1), matrix).squeeze(1) < 0.5)
    return scores * stays


def _overlaps(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(n, k, k): the IoU of any two boxes, and the share of the smaller one that lies in the larger."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (high - low).clamp(min=0.0)
    common = both[..., 0] * both[..., 1]
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0.0)
    areas = sides[..., 0] * sides[..., 1]
    first, second = areas.unsqueeze(2), areas.unsqueeze(1)
    return common / (first + second - common).clamp(min=1e-6), common / torch.minimum(first, second).clamp(
        min=1e-6
    )


def _visible(boxes: Tensor) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    longer, shorter = sides.amax(-1), sides.amin(-1)
    return (longer >= SPECK_PX) & (shorter >= max(SLIVER_PX, MIN_SIDE_PX))
