"""A project's champion in service: label-studio-ml's model class around a detector."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from label_studio_ml.model import LabelStudioMLBase
from numpy.typing import NDArray

from labelloop.boxes import Boxes
from labelloop.images import Pixels
from labelloop.labels import LabelConfig, LabelMap
from labelloop.order import LAST, TELLS_FROM, lot, prediction_score
from labelloop.raw_boxes import RawBoxes
from labelloop.regions import to_results
from labelloop.registry import Card
from labelloop.runner_up import noted
from labelloop.tidying import Rules, tidied
from labelloop.twins import FIELD, Twin, composed, marked
from labelloop.verified import BESIDE
from mlbackend.labelled_looks import LabelledLooks
from mlbackend.loading import ImageLoader, Task, TaskImage

Prediction = dict[str, Any]

_NO_CARD = Card(detector="", classes=[])


class Detects(Protocol):
    """What the backend asks of a detector; `labelloop.detector.Detector` is one."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def card(self) -> Card | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def device(self) -> Any: ...
    def predict(self, images: Sequence[Pixels]) -> list[Boxes]: ...
    def raw(self, images: Sequence[Pixels]) -> list[RawBoxes]: ...


LoadDetector = Callable[[Path], Detects]


class ForwardPass(Protocol):
    """Runs images through a detector: `predict` for the call itself, `raw` for `raw`."""

    def __call__(self, detector: Detects, images: Sequence[Pixels]) -> list[Boxes]: ...
    def raw(self, detector: Detects, images: Sequence[Pixels]) -> list[RawBoxes]: ...


class Champion(LabelStudioMLBase):  # type: ignore[misc]
    """One loaded version of a project's model.

    version: its name in the registry. forward: runs images through the detector, one pass at a time.
    labelled: knows near-duplicates of the project's labelled images.
    """

    def __init__(
        self,
        version: str,
        detector: Detects,
        images: ImageLoader,
        forward: ForwardPass,
        threshold: float,
        labelled: LabelledLooks,
    ) -> None:
        super().__init__()
        self.version = version
        self.detector = detector
        self._images = images
        self._forward = forward
        self._threshold = threshold
        self._labelled = labelled
        self._last_view: tuple[LabelConfig, _View] | None = None

    @property
    def trained(self) -> bool:
        """Whether this version was trained on the project's own labels."""
        return (self.detector.card or _NO_CARD).trained

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(self.detector.classes, config, trained=self.trained)

    def predict(self, tasks: Sequence[Task], config: LabelConfig) -> list[Prediction]:
        """One entry per task, in the tasks' order.

        The entry of an image that could not be read has "error", which says why, instead of "result". Label
        Studio stores no prediction for such an entry, and asks again when somebody opens the task.
        """
        view = self._view(config)
        predictions: list[Prediction] = []
        in_order = iter(tasks)
        for batch in self._images.batches(tasks, config, self.detector.batch_size):
            pixels = [image.pixels for image in batch if image.pixels is not None]
            found = iter(self._forward(self.detector, pixels) if pixels else [])
            for image in batch:
                task = next(in_order)
                if image.pixels is None:
                    predictions.append(self._unreadable(image))
                else:
                    predictions.append(self._prediction(task, next(found), image.pixels, view))
        return predictions

    def detect(self, content: bytes, config: LabelConfig) -> tuple[Boxes, tuple[int, int]]:
        """The boxes that are shown of an image, in its pixels, and its width and height. Labels index
        config.labels.

        Raises:
            ImageError: it cannot be read.
        """
        view = self._view(config)
        with self._images.given(content) as pixels:
            height, width = pixels.shape[:2]
            found = self._forward(self.detector, [pixels])[0]
        candidates = view.label_map.apply(found).clip(width, height)
        shown = candidates.scores >= view.thresholds[candidates.labels]
        return candidates.select(tidied(candidates, view.rules).kept & shown), (width, height)

    def _view(self, config: LabelConfig) -> "_View":
        """Kept for the next request, which mostly has the same config."""
        last = self._last_view
        if last is None or last[0] is not config:
            last = self._last_view = config, self._view_of(config)
        return last[1]

    def _view_of(self, config: LabelConfig) -> "_View":
        card = self.detector.card or _NO_CARD
        thresholds = card.thresholds(config.names_in(card.score_thresholds), self._threshold)
        label_map = self.label_map(config)
        few = 0 < card.images < TELLS_FROM
        learnt = self.trained and label_map.knows_any and not few
        rarity = card.rarity(config.names_in(card.boxes_by_class))
        return _View(label_map, config, thresholds, Rules.of(card, config), rarity, learnt)

    def raw(self, images: Sequence[Pixels]) -> list[RawBoxes]:
        """Every box that the network gives for each image."""
        return self._forward.raw(self.detector, images)

    def image(self, task: Task, config: LabelConfig) -> AbstractContextManager[TaskImage]:
        """A task's image, read now, for the block."""
        return self._images.one(task, config)

    def stamp(self, task: Task, config: LabelConfig) -> Hashable:
        """What tells a task's image in this version's eyes from every other one; see `ImageLoader.stamp`."""
        return self.version, id(self.detector), self._images.stamp(task, config)

    def _prediction(self, task: Task, boxes: Boxes, pixels: Pixels, view: "_View") -> Prediction:
        height, width = pixels.shape[:2]
        candidates = view.label_map.apply(boxes).clip(width, height)
        tidy = tidied(candidates, view.rules)
        proposed = tidy.kept & (candidates.scores >= view.thresholds[candidates.labels])
        twin = Twin.read(task[FIELD]) if FIELD in task else None
        if twin is None:
            regions = to_results(candidates.select(proposed), view.config, width, height)
            notes = tidy.notes(candidates, view.config.shown_names)
            result = list(noted(regions, [notes[index] for index in np.flatnonzero(proposed)]))
            for first in result[:1]:
                beside = candidates.scores[tidy.kept & ~proposed]
                first[BESIDE] = round(float(beside.max(initial=0.0)), 4)
        else:
            own, others = composed(twin.in_pixels(view.config, width, height), candidates, proposed)
            copied = to_results(others, view.config, width, height)
            result = [*to_results(own, view.config, width, height), *marked(copied, twin.task)]
        return {
            "result": result,
            "score": self._score(task, candidates, pixels, view),
            "model_version": self.version,
        }

    def _score(self, task: Task, candidates: Boxes, pixels: Pixels, view: "_View") -> float:
        """The task's place in the order of labelling. Near-duplicates of labelled images come last."""
        if FIELD in task or self._labelled.has_near(pixels):
            return LAST
        if not view.learnt:
            return lot(task.get("data"))
        return prediction_score(candidates.scores, view.rarity[candidates.labels])

    def _unreadable(self, image: TaskImage) -> Prediction:
        return {"model_version": self.version, "error": f"{image.name}: {image.error}"}


@dataclass(frozen=True)
class _View:
    """What a request's images have in common.

    thresholds: (labels,), the least score with which a box of the label is shown. rules: which boxes mark an
    object that another marks. rarity: (labels,), what a box of the label weighs in a task's score. learnt:
    whether the version was trained on enough of the project's own images; only then do its doubts tell what
    it has yet to learn.
    """

    label_map: LabelMap
    config: LabelConfig
    thresholds: NDArray[np.float32]
    rules: Rules
    rarity: NDArray[np.float32]
    learnt: bool
