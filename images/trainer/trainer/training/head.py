"""Finds the rows of each class in the tensors of a detector's head."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from mmcv import Config
from mmdet.models import build_detector

from trainer.training.recipe import fit_model

# mmdet's names of layers whose rows are not simply one block of classes for each anchor.
_BOXES_OF_EACH_CLASS = "fc_reg"  # two-stage heads: four sides for class 0, four for class 1, …
_YOLOV3 = "convs_pred"  # for each anchor the four sides, the objectness, then the classes


@dataclass(frozen=True)
class Rows:
    """Where a tensor keeps its classes along its first axis.

    `groups` blocks (one for each anchor), and in each `before` rows that belong to no class, `width` rows for
    each class, `after` rows that belong to no class (the background).
    """

    groups: int
    before: int = 0
    width: int = 1
    after: int = 0

    def _block(self, classes: int) -> int:
        return self.before + self.width * classes + self.after

    def count(self, classes: int) -> int:
        return self.groups * self._block(classes)

    def of_class(self, index: int, classes: int) -> list[int]:
        first = self.before + self.width * index
        starts = range(first, self.count(classes), self._block(classes))
        return [start + row for start in starts for row in range(self.width)]

    def of_none(self, classes: int) -> list[int]:
        own = range(self.before, self.before + self.width * classes)
        return [row for row in range(self.count(classes)) if row % self._block(classes) not in own]


def class_rows(config: Config, classes: int) -> dict[str, Rows | None]:
    """By key, the rows of the tensors whose shape depends on the number of classes; None if unknown.

    The detector is built with two numbers of classes to see which shapes change.
    """
    few, more = (_shapes(config, count) for count in (classes, classes + 1))
    return {
        key: _rows(key, few, more[key][0] - shape[0], classes) if more[key][1:] == shape[1:] else None
        for key, shape in few.items()
        if more[key] != shape
    }


def _shapes(config: Config, classes: int) -> dict[str, torch.Size]:
    probe = deepcopy(config)
    fit_model(probe, [""] * classes)
    return {key: value.shape for key, value in build_detector(probe.model).state_dict().items()}


def _rows(key: str, shapes: Mapping[str, torch.Size], a_class: int, classes: int) -> Rows | None:
    """The rows of one tensor. a_class: how many rows one more class adds."""
    rest = shapes[key][0] - a_class * classes
    *path, _ = key.split(".")
    if _BOXES_OF_EACH_CLASS in path:
        return Rows(1, width=a_class) if rest == 0 else None
    if _YOLOV3 in path:
        return Rows(a_class, before=rest // a_class) if rest % a_class == 0 else None
    # Only convolutions have anchors.
    weight = shapes.get(".".join([*path, "weight"]), shapes[key])
    if a_class > 1 and len(weight) != 4:
        return None
    return Rows(a_class, after=rest // a_class) if rest in (0, a_class) else None
