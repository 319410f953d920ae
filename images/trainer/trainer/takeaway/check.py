"""Whether what is taken along finds what the backend shows, asked by its own predict.py."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, Floats, iou_matrix
from labelloop.card import Card
from labelloop.detector import Detector
from labelloop.images import Pixels
from labelloop.labels import LabelConfig, LabelMap
from labelloop.tidying import Rules, tidied
from trainer.words import plural

MIN_IOU = 0.99
MAX_PX = 0.5
"""A small box whose edges are that near is the same box, though its IoU is lower."""
MAX_SCORE = 0.01
MAX_LOST = 0.01
"""Of two boxes with practically the same score either may hide the other: this share of boxes may differ."""


class Served:
    """What the backend shows of an image: the detector's boxes in the project's labels, one an object."""

    def __init__(self, detector: Detector, config: LabelConfig) -> None:
        self._detector, self._map = detector, detector.label_map(config)
        self._rules = Rules.of(detector.card, config)

    def __call__(self, pixels: Pixels) -> Boxes:
        height, width = pixels.shape[:2]
        boxes = self._map.apply(self._detector.predict([pixels])[0]).clip(width, height)
        return boxes.select(tidied(boxes, self._rules).kept)


class Taken:
    """A folder that was taken along, asked by its own predict.py. It can be scored as a detector."""

    batch_size = 1

    def __init__(self, folder: Path, card: Card) -> None:
        spec = importlib.util.spec_from_file_location(f"taken_{folder.name}", folder / "predict.py")
        assert spec is not None and spec.loader is not None
        page = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(page)
        self._find: Callable[[NDArray[np.uint8]], Sequence[Any]] = page.load_model(folder)
        self._labels = json.loads((folder / "model.json").read_text(encoding="utf-8"))["labels"]
        self.card = card

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._labels)

    @property
    def version(self) -> str:
        return self.card.version

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(self.classes, config, trained=True)

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        """As `Detector.predict`, of labels instead of classes."""
        return [boxes for image in images for boxes in self.batch(image[None])]

    def batch(self, images: NDArray[np.uint8]) -> list[Boxes]:
        """images: (n, height, width, 3), blue-green-red."""
        found = self._find(np.ascontiguousarray(images[:, :, :, ::-1]))
        rows = [Boxes.of(corners, scores, labels) for corners, scores, labels in zip(*found, strict=True)]
        return [boxes.select(boxes.scores > 0) for boxes in rows]


@dataclass
class Gap:
    """How far two models' shown boxes are apart. boxes: how many were compared. lost: how many one model
    shows alone. iou, pixels, score: the worst of the others.
    """

    images: int = 0
    boxes: int = 0
    lost: int = 0
    iou: float = 1.0
    pixels: float = 0.0
    score: float = 0.0
    apart: int = field(default=0)

    @property
    def same(self) -> bool:
        return self.apart == 0 and self.lost <= MAX_LOST * self.boxes

    def __str__(self) -> str:
        alone = f", {self.lost} shown by one of both alone" if self.lost else ""
        return (
            f"{plural(self.boxes, 'box', 'boxes')} on {plural(self.images, 'image')}: IoU at least "
            f"{self.iou:.4f}, edges within {self.pixels:.2f} px, scores within {self.score:.4f}{alone}"
        )

    def add(self, expected: Boxes, found: Boxes, thresholds: Floats) -> None:
        """thresholds: (labels,), from which on a box is shown. A box on one side of it may be on the other by
        MAX_SCORE.
        """
        self.images += 1
        self.boxes += int(np.count_nonzero(expected.scores >= thresholds[expected.labels]))
        for ours, theirs in ((expected, found), (found, expected)):
            shown = ours.select(ours.scores >= thresholds[ours.labels])
            rivals = theirs.select(theirs.scores >= thresholds[theirs.labels] - MAX_SCORE)
            for index in range(len(shown)):
                self._one(shown, index, rivals)

    def _one(self, shown: Boxes, index: int, rivals: Boxes) -> None:
        rivals = rivals.select(rivals.labels == shown.labels[index])
        overlaps = iou_matrix(shown.xyxy[index : index + 1], rivals.xyxy)[0]
        if not len(rivals) or overlaps.max() < 0.5:
            self.lost += 1
            return
        best = int(overlaps.argmax())
        iou, score = float(overlaps[best]), float(abs(rivals.scores[best] - shown.scores[index]))
        pixels = float(np.abs(rivals.xyxy[best] - shown.xyxy[index]).max())
        self.iou, self.pixels, self.score = (
            min(self.iou, iou),
            max(self.pixels, pixels),
            max(self.score, score),
        )
        self.apart += (iou < MIN_IOU and pixels > MAX_PX) or score > MAX_SCORE


def compare(served: Served, taken: Taken, images: Iterable[Pixels], thresholds: Floats, batches: bool) -> Gap:
    """The gap on some images. batches: whether to try several at once, of a size that none has."""
    gap = Gap()
    for number, image in enumerate(images):
        gap.add(served(image), taken.predict([image])[0], thresholds)
        if number == 0 and batches:
            height, width = (max(side - side // 4 - 1, 1) for side in image.shape[:2])
            cut = np.ascontiguousarray(image[:height, :width])
            both = np.stack([cut, cut[:, ::-1]])
            for one, boxes in zip(both, taken.batch(both), strict=True):
                gap.add(served(np.ascontiguousarray(one)), boxes, thresholds)
    return gap
