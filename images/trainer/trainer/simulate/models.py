"""Evaluates a simulated project's versions in this process: their scores and the boxes they would propose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelloop.boxes import Boxes
from labelloop.images import ImageError
from labelloop.labels import LabelConfig
from labelloop.registry import ProjectModels
from labelloop.settings import Settings
from labelloop.tidying import Rules, tidied
from trainer.judging.detections import detections, load_detector
from trainer.judging.evaluate import evaluate
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.errors import DatasetError

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Score:
    """A version's score on the dataset's test images; 0 for a model that knows none of the labels."""

    mAP: float
    AP50: float


class Scorer:
    """Scores versions on the test images. Each weights file is scored only once."""

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self._snapshot = dataset.test_snapshot()
        self._settings = settings
        self._known: dict[str, Score] = {}

    def score(self, models: ProjectModels, version: str, progress: Progress) -> Score:
        """The score of a version.

        Raises:
            DatasetError: a test image cannot be read, without which the score would not be comparable.
        """
        weights = models.card(version).weights_sha256
        if weights not in self._known:
            found = evaluate(models.folder(version), self._snapshot, self._settings, progress)
            if found.missing:
                raise DatasetError(f"test images can no longer be read: {'; '.join(found.missing)}")
            self._known[weights] = Score(found.mAP or 0.0, found.AP50 or 0.0)
        return self._known[weights]


def propose(
    models: ProjectModels, version: str, images: Sequence[TrueImage], config: LabelConfig, settings: Settings
) -> list[Boxes]:
    """The boxes that a version would propose for each image through the ML backend: one for each object,
    with its score thresholds and in the project's labels.

    Raises:
        DatasetError: an image can no longer be read.
    """
    detector = load_detector(models.folder(version), settings)
    label_map = detector.label_map(config)
    card = models.card(version)
    thresholds, rules = card.thresholds(config.names, settings.score_threshold), Rules.of(card, config)
    proposed: list[Boxes] = []
    looked_at = detections(detector, label_map, [image.path for image in images])
    for image, boxes in zip(images, looked_at, strict=True):
        if isinstance(boxes, ImageError):
            raise DatasetError(str(boxes)) from boxes
        inside = boxes.clip(image.width, image.height)
        kept = tidied(inside, rules).kept
        proposed.append(inside.select(kept & (inside.scores >= thresholds[inside.labels])))
    return proposed
