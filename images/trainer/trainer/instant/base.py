"""A champion as something to learn upon: its network, frozen, and a head for the project's labels."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from mmcv import Config

from labelloop.detector import Detector, load_weights, look_of, set_look
from labelloop.heads import is_yolox
from labelloop.images import Pixels
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import Card, ProjectModels
from trainer.dataset.labelled import SnapshotImage
from trainer.instant.errors import CannotLearn
from trainer.instant.views import Prepare, View, parts_of, view
from trainer.training.fit import carry_over, new_model
from trainer.training.head import class_rows
from trainer.training.learn import quicken
from trainer.training.recipe import fit_model

HEAD_KEYS = "bbox_head."


@dataclass(frozen=True)
class Base:
    """champion: the version. card: its card. classes: the project's labels. model: mmdet's detector with the
    champion's weights, as far as they fit the labels. look: the long side at which the champion looks at an
    image. prepare: by a size, what turns an image into the network's input.
    """

    champion: str
    card: Card
    classes: tuple[str, ...]
    model: Any
    look: int
    prepare: Callable[[int], Prepare]

    @classmethod
    def load(cls, models: ProjectModels, champion: str, labels: LabelConfig) -> "Base":
        """Raises CannotLearn: its detector has another head. RegistryError: a file of it is damaged."""
        folder, card = models.folder(champion), models.card(champion)
        config = Config.fromfile(str(folder / "config.py"))
        fit_model(config, labels.names)
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        model = new_model(config)
        if not is_yolox(getattr(model, "bbox_head", None)):
            raise CannotLearn(
                f"{card.detector} has no head that can be learnt at once; it learns in rounds alone"
            )
        count = len(labels.names)
        to_label = LabelMap.build(card.classes, labels, trained=card.trained).to_label
        weights = load_weights(folder / "weights.pth")
        carried = carry_over(model.state_dict(), weights, class_rows(config, count), to_label, count)
        model.load_state_dict(carried.state)
        model.eval().requires_grad_(False)
        quicken(model)
        look = look_of(config)
        return cls(
            champion, card, tuple(labels.names), model, look, cache(lambda side: _prepare(config, side))
        )

    def views(self, pixels: Pixels, image: SnapshotImage, look: int) -> list[View]:
        """What is learnt from one image. image: without junk. look: the size of images in use."""
        height, width = pixels.shape[:2]
        boxes = np.asarray(image.xyxy, dtype=np.float32).reshape(-1, 4)
        parts = parts_of(width, height, boxes, look, seed=image.task)
        return [view(pixels, boxes, image.labels, p, self.prepare(p.side), self.model) for p in parts]

    def own_head(self, models: ProjectModels) -> dict[str, torch.Tensor]:
        """The champion's own head, for its own classes. Raises RegistryError: its weights are damaged."""
        weights = load_weights(models.folder(self.champion) / "weights.pth")
        return {key: value for key, value in weights.items() if key.startswith(HEAD_KEYS)}

    def with_head(self, state: dict[str, torch.Tensor]) -> Any:
        """The head with these weights, whose keys are those of the whole detector."""
        self.model.bbox_head.load_state_dict(
            {key.removeprefix(HEAD_KEYS): value for key, value in state.items()}
        )
        return self.model.bbox_head


def state_of(head: Any) -> dict[str, torch.Tensor]:
    """A head's weights, under the keys that they have in the detector's state_dict."""
    return {f"{HEAD_KEYS}{key}": value.detach().contiguous() for key, value in head.state_dict().items()}


def bytes_of(state: dict[str, torch.Tensor]) -> bytes:
    """A head's weights as its file has them."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _prepare(config: Config, side: int) -> Prepare:
    fitted = Config(config._cfg_dict.to_dict())
    set_look(fitted, side)
    return Detector.preparation(fitted)
