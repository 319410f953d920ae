"""Evaluates a simulated project's versions in this process: their scores and the boxes they would propose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import ImageError, Pixels
from labelloop.labels import LabelMap
from labelloop.registry import ProjectModels
from labelloop.settings import Settings
from labelloop.tidying import Rules, tidied
from trainer.judging.detections import detections, load_detector
from trainer.judging.effort import Work
from trainer.judging.evaluate import evaluate
from trainer.simulate.annotator import correct
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.errors import DatasetError
from trainer.simulate.options import Person

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Score:
    """A version's score on the dataset's test images; 0 for a model that knows none of the labels. work: what
    the person does there with what it proposes, without clicks.
    """

    mAP: float
    AP50: float
    work: Work = Work()


class _Remembering:
    """A detector that keeps what it found, so that an image is looked at once for all that is asked of it."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.found: list[Boxes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        found = self._detector.predict(images)
        self.found += found
        return found


class Scorer:
    """Looks at images with versions, at each image once for each weights file, and says what comes of it."""

    def __init__(self, dataset: Dataset, settings: Settings, person: Person) -> None:
        self._dataset = dataset
        self._snapshot = dataset.test_snapshot()
        self._settings = settings
        self._person = person
        self._known: dict[str, Score] = {}
        self._looked: dict[tuple[str, str], Boxes] = {}

    def score(self, models: ProjectModels, version: str, progress: Progress) -> Score:
        """The score of a version on the test images.

        Raises:
            DatasetError: a test image cannot be read, without which the score would not be comparable.
        """
        weights = models.card(version).weights_sha256
        if weights not in self._known and not self._knows_labels(models, version):
            lacking = sum(len(image.boxes) for image in self._dataset.test)
            self._known[weights] = Score(0.0, 0.0, Work(drawn=lacking))
        if weights not in self._known:
            detector = _Remembering(load_detector(models.folder(version), self._settings))
            found = evaluate(cast(Detector, detector), self._snapshot, self._settings, progress)
            if found.missing:
                raise DatasetError(f"test images can no longer be read: {'; '.join(found.missing)}")
            label_map = detector.label_map(self._dataset.label_config)
            boxes = [label_map.apply(boxes) for boxes in detector.found]
            work = self._work(models, version, self._dataset.test, boxes)
            self._known[weights] = Score(found.mAP or 0.0, found.AP50 or 0.0, work)
        return self._known[weights]

    def work_with(self, models: ProjectModels, version: str, images: Sequence[TrueImage]) -> Work:
        """What the person would do in these images with what a version would propose, without clicks.

        Raises:
            DatasetError: an image can no longer be read.
        """
        weights = models.card(version).weights_sha256
        if not self._knows_labels(models, version):
            return Work(drawn=sum(len(image.boxes) for image in images))
        lacking = [image for image in images if (weights, image.sha256) not in self._looked]
        if lacking:
            detector = load_detector(models.folder(version), self._settings)
            label_map = detector.label_map(self._dataset.label_config)
            looked_at = detections(detector, label_map, [image.path for image in lacking])
            for image, boxes in zip(lacking, looked_at, strict=True):
                if isinstance(boxes, ImageError):
                    raise DatasetError(str(boxes)) from boxes
                self._looked[weights, image.sha256] = boxes
        found = [self._looked[weights, image.sha256] for image in images]
        return self._work(models, version, images, found)

    def _knows_labels(self, models: ProjectModels, version: str) -> bool:
        """Whether a version can propose anything at all; if not, nobody has to run it."""
        card = models.card(version)
        return LabelMap.build(card.classes, self._dataset.label_config, trained=card.trained).knows_any

    def _work(
        self, models: ProjectModels, version: str, images: Sequence[TrueImage], found: Sequence[Boxes]
    ) -> Work:
        """found: all boxes of the version in each image, in the project's labels. Those are corrected that it
        would propose through the ML backend: one for each object, from its score thresholds on.
        """
        card, config = models.card(version), self._dataset.label_config
        rules, thresholds = (
            Rules.of(card, config),
            card.thresholds(config.names, self._settings.score_threshold),
        )
        work = Work()
        for image, boxes in zip(images, found, strict=True):
            inside = boxes.clip(image.width, image.height)
            kept = tidied(inside, rules).kept
            proposed = inside.select(kept & (inside.scores >= thresholds[inside.labels]))
            work += correct(proposed, image.boxes, self._person)
        return work
