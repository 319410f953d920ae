"""A network's output as candidates: boxes, scores and classes, before one object has one box."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.takeaway.errors import CannotTake

Maps = tuple[list[Tensor], ...]


@dataclass(frozen=True)
class Candidates:
    """boxes: (n, k, 4), corners in pixels of the prepared image. scores: (n, k) or, of a head that scores
    each class on its own, (n, k, classes). labels: (n, k), the class of each; None for such a head.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Decoding:
    """decode: from a head's maps to candidates. clipped: whether mmdet clips the boxes to the image before it
    suppresses. iou: the IoU over which it suppresses the weaker of two boxes of a class.
    """

    decode: Callable[[Maps], Candidates]
    clipped: bool
    iou: float


def decoding(model: Any) -> Decoding:
    """How an mmdet detector's maps become boxes.

    Raises:
        CannotTake: mmdet's own code between the stages, or a head of another kind, cannot be put into a
            graph.
    """
    from mmdet.models import SingleStageDetector, YOLOXHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    kind = type(model).__name__
    if not isinstance(model, SingleStageDetector):
        raise CannotTake(f"{kind} works in several stages, and mmdet's own code runs between them")
    head = model.bbox_head
    nms = head.test_cfg.get("nms") or {}
    if nms.get("type") != "nms" or "iou_threshold" not in nms:
        raise CannotTake(f"{kind} does not end in plain non-maximum suppression")
    iou = float(nms["iou_threshold"])
    if isinstance(head, YOLOXHead):
        return Decoding(lambda maps: _yolox(head, maps), False, iou)
    own = [
        name
        for name in ("get_bboxes", "_get_bboxes_single", "_bbox_post_process")
        if _differs(head, BaseDenseHead, name)
    ]
    if own:
        raise CannotTake(f"{type(head).__name__} turns its output into boxes in a way of its own")
    return Decoding(lambda maps: _dense(head, maps), True, iou)


def _differs(head: Any, base: Any, name: str) -> bool:
    return getattr(type(head), name) is not getattr(base, name)


def _flat(level: Tensor, width: int) -> Tensor:
    """(n, priors * width, height, width) as (n, places, width)."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, width)


def _priors(head: Any, levels: list[Tensor], **more: Any) -> list[Tensor]:
    sizes = [level.shape[-2:] for level in levels]
    priors: list[Tensor] = head.prior_generator.grid_priors(sizes, dtype=torch.float32, device="cpu", **more)
    return priors


def _yolox(head: Any, maps: Maps) -> Candidates:
    scores, boxes, objectness = maps
    priors = torch.cat(_priors(head, scores, with_stride=True))
    of_class = torch.cat([_flat(level, head.cls_out_channels) for level in scores], 1).sigmoid()
    certain = torch.cat([_flat(level, 1) for level in objectness], 1).sigmoid()[..., 0]
    corners = head._bbox_decode(priors, torch.cat([_flat(level, 4) for level in boxes], 1))
    best, labels = of_class.max(2)
    return Candidates(corners, best * certain, labels)


def _dense(head: Any, maps: Maps) -> Candidates:
    """As BaseDenseHead does it: RetinaNet, FCOS, ATSS and others."""
    levels, found = [], []
    for place, priors in enumerate(_priors(head, maps[0])):
        scores = _flat(maps[0][place], head.cls_out_channels)
        scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[..., :-1]
        if len(maps) > 2:
            scores = scores * _flat(maps[2][place], 1).sigmoid()
        deltas = _flat(maps[1][place], 4)
        corners = head.bbox_coder.decode(priors.unsqueeze(0).expand(deltas.shape[0], -1, -1), deltas)
        levels.append(corners)
        found.append(scores)
    return Candidates(torch.cat(levels, 1), torch.cat(found, 1), None)
