"""Every box that a detector's network gives for an image, before doubles and low scores are dropped."""

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, Floats

if TYPE_CHECKING:
    import torch

MOST = 4000
LEAST = 1e-4
"""Of an image, at most so many boxes are kept, the best first; below this evidence none is."""
LOOSE_IOU = 0.9


@dataclass(frozen=True)
class RawBoxes:
    """N boxes of one image, doubles and all.

    xyxy: (N, 4), pixels. evidence: (N,), 0..1, that there is any object; best first. classes: (N, C) float16,
    0..1, for each class of the model.
    """

    xyxy: Floats
    evidence: Floats
    classes: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.evidence)

    @property
    def nbytes(self) -> int:
        return self.xyxy.nbytes + self.evidence.nbytes + self.classes.nbytes

    @classmethod
    def best(cls, xyxy: Floats, evidence: Floats, classes: NDArray[Any]) -> "RawBoxes":
        """Of boxes in any order, those that are kept."""
        finite = np.isfinite(xyxy).all(axis=1) & (evidence >= LEAST)
        kept = np.flatnonzero(finite)
        kept = kept[np.argsort(-evidence[kept], kind="stable")][:MOST]
        return cls(xyxy[kept], evidence[kept], classes[kept].astype(np.float16))

    @classmethod
    def of_boxes(cls, boxes: Boxes, classes: int) -> "RawBoxes":
        """Boxes with a label each, as a detector's `predict` gives them: the scores are the evidence."""
        known = np.zeros((len(boxes), classes), dtype=np.float16)
        known[np.arange(len(boxes)), boxes.labels] = 1.0
        return cls.best(boxes.xyxy, boxes.scores, known)

    def cropped(self, left: int, top: int, width: int, height: int, whole: tuple[int, int]) -> "RawBoxes":
        """These boxes, of a crop, in pixels of the whole image; without those that the crop cuts off.

        left, top, width, height: the crop's place. whole: width and height of the image.
        """
        x1, y1, x2, y2 = self.xyxy.T
        cut = (x1 < -1) & (left > 0) | (y1 < -1) & (top > 0)
        cut |= (x2 > width + 1) & (left + width < whole[0]) | (y2 > height + 1) & (top + height < whole[1])
        offset = np.array([left, top, left, top], dtype=np.float32)
        return RawBoxes(self.xyxy[~cut] + offset, self.evidence[~cut], self.classes[~cut])


def of_batch(model: Any, batch: dict[str, Any], classes: int) -> list[RawBoxes] | None:
    """The raw boxes of a collated batch; None for a detector of several stages.

    model: mmdet's, in eval mode, under torch.no_grad. batch: "img" and "img_metas", as for one test pass.
    """
    from mmdet.models import SingleStageDetector

    head = getattr(model, "bbox_head", None)
    if not isinstance(model, SingleStageDetector) or head is None:
        return None
    images, metas = batch["img"][0], batch["img_metas"][0]
    maps = head(model.extract_feat(images))
    if hasattr(head, "_bbox_decode") and len(maps) == 3:
        return of_yolox(head, maps, np.array([meta["scale_factor"] for meta in metas]))
    loose = deepcopy(head.test_cfg)
    if loose is not None and loose.get("nms"):
        loose.nms.iou_threshold = LOOSE_IOU
    found = head.get_bboxes(*maps, img_metas=metas, cfg=loose, rescale=True)
    return [
        RawBoxes.of_boxes(
            Boxes.of(rows[:, :4].cpu(), rows[:, 4].cpu(), labels.cpu()),
            classes,
        )
        for rows, labels in found
    ]


def of_yolox(head: Any, maps: "tuple[list[torch.Tensor], ...]", factors: Floats) -> list[RawBoxes]:
    """The raw boxes of a batch from a YOLOX head's maps. factors: (n, 4), by how much each image was resized.

    YOLOX tells objectness apart from the classes: it sees objects of which it knows no name.
    """
    import torch

    scores, offsets, objectness = maps
    sizes = [level.shape[2:] for level in scores]
    priors = torch.cat(
        head.prior_generator.grid_priors(
            sizes, dtype=scores[0].dtype, device=scores[0].device, with_stride=True
        )
    )
    boxes = head._bbox_decode(priors, _flat(offsets, 4))
    boxes = boxes / boxes.new_tensor(factors).unsqueeze(1)
    evidence = _flat(objectness, 1)[..., 0].sigmoid()
    classes = _flat(scores, head.cls_out_channels).sigmoid()
    rows = zip(boxes.cpu().numpy(), evidence.cpu().numpy(), classes.cpu().numpy(), strict=True)
    return [RawBoxes.best(*row) for row in rows]


def _flat(levels: "list[torch.Tensor]", channels: int) -> "torch.Tensor":
    """Maps (n, channels, height, width) as one (n, places, channels)."""
    import torch

    return torch.cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, channels) for one in levels], dim=1)
