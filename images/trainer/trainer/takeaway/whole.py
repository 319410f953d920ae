"""A detector with what comes before and after its network, as one module that runtimes can take."""

from typing import Any

import torch
from torch import Tensor, nn

from labelloop.detector import Detector
from labelloop.labels import SHARED_LABEL_NMS_IOU, LabelConfig
from labelloop.tidying import Rules
from trainer.takeaway.candidates import Candidates, decoding
from trainer.takeaway.one_box import OneBox
from trainer.takeaway.preparation import Steps, prepare


class Whole(nn.Module):
    """Takes images (n, height, width, 3) uint8, red-green-blue and upright, of any size and number.

    Returns: boxes (n, most, 4) float32, x1 y1 x2 y2 in pixels of the image; scores (n, most), highest first,
    0 where there is no box any more; labels (n, most), indices into the project's labels.
    """

    def __init__(self, detector: Detector, config: LabelConfig, most: int) -> None:
        """most: how many candidates of an image are looked at.

        Raises:
            CannotTake: the detector cannot be put into a graph.
        """
        super().__init__()
        self._decoding = decoding(detector.model)
        self._steps = Steps.of(detector.model.cfg.data.test.pipeline)
        mapped = detector.label_map(config)
        used = [label for label in mapped.to_label if label is not None]
        shared = SHARED_LABEL_NMS_IOU if len(set(used)) < len(used) else None
        self.network = detector.model
        self.one_box = OneBox(self._decoding.iou, shared, mapped.to_label, Rules.of(detector.card, config))
        self.most = most

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        prepared = prepare(images, self._steps)
        maps = self.network.forward_dummy(prepared.images)
        boxes, scores, classes = self._best(self._decoding.decode(maps))
        if self._decoding.clipped:
            high = prepared.shown.flip(0).float().repeat(2)
            boxes = torch.minimum(boxes.clamp(min=0.0), high)
        boxes, scores, labels = self.one_box(boxes / prepared.factors, scores, classes, _size(images))
        scores, order = scores.topk(self.most, 1)
        return boxes.gather(1, order.unsqueeze(2).expand(-1, -1, 4)), scores, labels.gather(1, order)

    def _best(self, found: Candidates) -> tuple[Tensor, Tensor, Tensor]:
        """The candidates with the highest scores, as boxes (n, most, 4), scores and classes (n, most).

        So many empty ones are added that there always are enough.
        """
        scores, classes = found.scores.flatten(1), found.labels
        of_each = found.scores.shape[2] if found.labels is None else 1
        scores = torch.cat([scores, scores.new_zeros(scores.shape[0], self.most)], 1)
        scores, order = scores.topk(self.most, 1)
        filled = torch.minimum(order, _last(found.boxes, of_each))
        places = torch.div(filled, of_each, rounding_mode="floor")
        boxes = found.boxes.gather(1, places.unsqueeze(2).expand(-1, -1, 4))
        classes = filled - places * of_each if classes is None else classes.gather(1, filled)
        return boxes, scores, classes


def _last(boxes: Tensor, of_each: int) -> Tensor:
    """The index of the last candidate."""
    count: Any = boxes.shape[1]
    return (count if isinstance(count, Tensor) else torch.tensor(count)) * of_each - 1


def _size(images: Tensor) -> Tensor:
    height: Any = images.shape[1]
    width: Any = images.shape[2]
    return torch.stack([side if isinstance(side, Tensor) else torch.tensor(side) for side in (height, width)])
