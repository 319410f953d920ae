"""A simulated project's versions, looked at in this process: their score, and what they would propose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import read_image
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import ProjectModels
from labelloop.settings import Settings
from trainer.evaluate import evaluate
from trainer.simulate.dataset import Dataset, TrueImage

READ_AT_ONCE = 8
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Score:
    """On the dataset's test images; 0 for a model that knows none of the labels."""

    mAP: float
    AP50: float


class Scorer:
    """Scores versions on the test images, each weights file once."""

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self._snapshot = dataset.test_snapshot()
        self._settings = settings
        self._known: dict[str, Score] = {}

    def score(self, models: ProjectModels, version: str, progress: Progress) -> Score:
        weights = models.card(version).weights_sha256
        if weights not in self._known:
            found = evaluate(models.folder(version), self._snapshot, self._settings, progress)
            self._known[weights] = Score(found.mAP or 0.0, found.AP50 or 0.0)
        return self._known[weights]


def propose(
    models: ProjectModels, version: str, images: Sequence[TrueImage], config: LabelConfig, settings: Settings
) -> list[Boxes]:
    """The boxes that a version proposes for each image, as the ML backend would: its thresholds, the
    project's labels.
    """
    device = "cuda:0" if settings.accelerator == "cuda" else "cpu"
    detector = Detector.load(models.folder(version), device)
    label_map = LabelMap.build(detector.classes, config)
    own = models.card(version).score_thresholds
    thresholds = np.array([own.get(name, settings.score_threshold) for name in config.names], np.float32)
    proposed: list[Boxes] = []
    for start in range(0, len(images), READ_AT_ONCE):
        batch = images[start : start + READ_AT_ONCE]
        for image, found in zip(batch, detector.predict([read_image(i.path) for i in batch]), strict=True):
            boxes = label_map.apply(found)
            proposed.append(
                boxes.select(boxes.scores >= thresholds[boxes.labels]).clip(image.width, image.height)
            )
    return proposed
