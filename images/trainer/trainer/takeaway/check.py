"""Whether what is taken along finds what the backend shows, asked by its own predict.py."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, Floats
from labelloop.card import Card
from labelloop.detector import Detector
from labelloop.images import Pixels
from labelloop.labels import LabelConfig, LabelMap
from labelloop.tidying import Rules, tidied
from trainer.training.gap import Gap


class Served:
    """What the backend shows of an image: the detector's boxes in the project's labels, one an object; of one
    look at it, since what is taken along doesn't look at mirror images.
    """

    def __init__(self, detector: Detector, config: LabelConfig) -> None:
        self._detector, self._map = detector.looking_once(), detector.label_map(config)
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
