"""What the ML backend answers, using the champions in service."""

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig, parse_label_config
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.task_images import image_name
from mlbackend import hints
from mlbackend.champion import Champion, LoadDetector, Prediction
from mlbackend.champions import Champions, Place
from mlbackend.clicks import Clicks
from mlbackend.errors import BackendError, BadRequest
from mlbackend.loading import ImageLoader, Task
from mlbackend.trainer_client import TrainerClient
from mlbackend.unreadable import Unreadable
from mlbackend.wire import START_TRAINING, Body, read_project_id

log = logging.getLogger(__name__)

SETUP_PATIENCE_S = 2.0
PREDICT_PATIENCE_S = 60.0
PREDICTS_AT_ONCE = 3
"""Pre-labelling asks for two at once, and nobody else should wait for these to end."""
CLICK_PATIENCE_S = 5.0
IMAGE_WORKERS = 4
"""So many threads read images at least, since a download mostly waits."""


@dataclass
class _Known:
    """What requests have told of a project: its label config, and the images that could not be read."""

    config: LabelConfig | None = None
    unreadable: Unreadable = field(default_factory=Unreadable)


class ChampionManager:
    """Serves each project's champion; it never trains, and never names a version itself."""

    def __init__(self, settings: Settings, champions: Champions, trainer: TrainerClient) -> None:
        self.model_dir = str(settings.models_dir)
        self._registry = Registry(settings.models_dir)
        self._champions = champions
        self._trainer = trainer
        self._known: dict[int, _Known] = {}
        self._clicks = Clicks(self._registry)
        self._predicting = threading.BoundedSemaphore(PREDICTS_AT_ONCE)

    @classmethod
    def start(
        cls, settings: Settings, load: LoadDetector, stop: threading.Event, *, several: bool = False
    ) -> Self:
        """With champions of its own, which follow the registry until `stop` is set. several: whether others
        answer Label Studio, too.
        """
        champions = Champions(
            Registry(settings.models_dir),
            load,
            ImageLoader(settings, max(IMAGE_WORKERS, settings.threads)),
            settings.score_threshold,
            several=several,
        )
        champions.watch(stop)
        return cls(settings, champions, TrainerClient(settings))

    def setup(self, project: object, label_config: str, token: str | None) -> str:
        """Learns a project's label config, which may be empty. Returns: the version in service.

        The token is not kept: the backend asks Label Studio for images at LABELSTUDIO_URL, with API_TOKEN.

        Raises:
            LabelConfigError: no boxes can be drawn with this label config.
            BackendError: 503, no model serves this project.
        """
        project_id = read_project_id(project)
        config = _parse(label_config)
        champion = self._champions.get(project_id, SETUP_PATIENCE_S)
        self._learn(project_id, champion, config)
        return champion.version

    def predict(
        self, tasks: list[Task], project: object, label_config: str | None = None, params: object = None
    ) -> tuple[list[Prediction], str]:
        """One prediction per task, in the tasks' order, and their version. A /setup before it isn't needed.

        params: as Label Studio sends them. With a context of regions, what the person points at in the first
        task is answered instead, and that never fails for want of a model.

        Raises:
            BadRequest: neither this request nor one before has brought a label config.
            LabelConfigError, BackendError: as `setup`.
        """
        project_id = read_project_id(project)
        given = _parse(label_config)
        if tasks and (config := given or self._known.get(project_id, _Known()).config) is not None:
            asked = hints.read(params, config)
            if asked is not None:
                return self._point(project_id, tasks[0], config, asked)
        champion = self._champions.get(project_id, PREDICT_PATIENCE_S)
        known = self._learn(project_id, champion, given)
        config = given or known.config
        if config is None:
            raise BadRequest("label_config: missing, and no /setup has brought one for this project")
        began = time.monotonic()
        with self._predicting:
            predictions = champion.predict(tasks, config)
        failed = _note_unreadable(known.unreadable, tasks, predictions, config)
        log.info(
            "project %d: %d tasks with %s in %.1f s%s",
            project_id,
            len(tasks),
            champion.version,
            time.monotonic() - began,
            f", {failed} unreadable" if failed else "",
        )
        return predictions, champion.version

    def served(self, project: object) -> tuple[str, tuple[str, ...]]:
        """The version in service for a project, and its classes. Raises BackendError, as `setup`."""
        champion = self._champions.get(read_project_id(project), PREDICT_PATIENCE_S)
        return champion.version, tuple(champion.detector.classes)

    def detect(
        self, project_id: int, label_config: str, content: bytes
    ) -> tuple[Boxes, tuple[int, int], str, LabelConfig]:
        """The boxes that are shown of an image, which no task has, its width and height, the version that
        found them, and the config whose labels they index.

        Raises:
            LabelConfigError, BackendError: as `setup`. ImageError: it cannot be read.
        """
        config = parse_label_config(label_config)
        champion = self._champions.get(project_id, PREDICT_PATIENCE_S)
        with self._predicting:
            return *champion.detect(content, config), champion.version, config

    def _point(
        self, project_id: int, task: Task, config: LabelConfig, asked: hints.Asked
    ) -> tuple[list[Prediction], str]:
        """The boxes of what a person points at. Batches of predictions don't keep her waiting."""
        began = time.monotonic()
        champion: Champion | None = None
        try:
            champion = self._champions.get(project_id, CLICK_PATIENCE_S)
        except BackendError as error:
            log.warning("project %d: a click without a model: %s", project_id, error)
        answer = self._clicks.answer(project_id, champion, task, config, asked)
        log.info(
            "project %d: %d clicks with %s in %.3f s",
            project_id,
            len(asked.hints),
            answer["model_version"] or "no model",
            time.monotonic() - began,
        )
        return [answer], str(answer["model_version"])

    def _learn(self, project_id: int, champion: Champion, config: LabelConfig | None) -> _Known:
        known = self._known.setdefault(project_id, _Known())
        if config is not None and config != known.config:
            known.config = config
            _log_labels(project_id, champion, config)
        return known

    def webhook(self, event: str, data: Body) -> dict[str, Any]:
        """START_TRAINING, which Label Studio's button sends, asks for a round; the rest is acknowledged."""
        if event != START_TRAINING:
            return {"status": "ignored"}
        project_id = read_project_id(data.get("project"))
        answer = self._trainer.request_round(project_id)
        log.info(
            "project %d: round %s %s",
            project_id,
            answer["round"],
            "joined" if answer["joined"] else "requested",
        )
        return answer

    def is_training(self, project: object) -> dict[str, Any]:
        project_id = read_project_id(project)
        row = self._trainer.open_round(project_id)
        champion = next((p.champion for p in self._champions.places() if p.project_id == project_id), None)
        return {
            "is_training": row is not None,
            "backend": "trainer",
            "round": row.get("id") if row else None,
            "state": row.get("state") if row else None,
            "model_version": champion.version if champion else None,
        }

    def versions(self, project: object | None) -> list[str]:
        """The registry's versions of a project; of all for Label Studio's GET /versions, which names none."""
        ids = self._registry.projects() if project is None else [read_project_id(project)]
        return sorted({version for id_ in ids for version in self._registry.project(id_).versions()})

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether any champion serves, and the state of each project."""
        places = self._champions.places()
        up = any(place.champion is not None for place in places)
        report: dict[str, Any] = {
            "status": "UP" if up else "DOWN",
            "projects": {str(place.project_id): self._report(place) for place in places},
            "model_dir": self.model_dir,
            "v2": True,
        }
        if not up:
            report["reason"] = _why_down(places, self.model_dir)
        return up, report

    def _report(self, place: Place) -> dict[str, Any]:
        known = self._known.get(place.project_id, _Known())
        champion = place.champion
        report: dict[str, Any] = {
            "version": champion.version if champion else None,
            "device": str(champion.detector.device) if champion else None,
            "classes": list(champion.detector.classes) if champion else [],
            "unmapped_classes": None,
            "unmatched_labels": None,
            "unreadable": known.unreadable.entries(),
        }
        if champion is not None and known.config is not None:
            label_map = champion.label_map(known.config)
            report["unmapped_classes"] = list(label_map.unmapped_classes)
            report["unmatched_labels"] = list(label_map.unmatched_labels)
        if place.error:
            report["error"] = place.error
        return report


@lru_cache(maxsize=8)
def _parse(label_config: str | None) -> LabelConfig | None:
    """Every request brings its project's label config, mostly the one that the last request brought."""
    return parse_label_config(label_config) if label_config else None


def _why_down(places: list[Place], model_dir: str) -> str:
    if errors := [place.error for place in places if place.error]:
        return " ".join(errors)
    if places:
        return "the model is being loaded"
    return f"no project has a model in {model_dir}: the trainer writes the starting ones; see `make logs`"


def _log_labels(project_id: int, champion: Champion, config: LabelConfig) -> None:
    unmatched = champion.label_map(config).unmatched_labels
    if unmatched:
        log.warning(
            "project %d: no class of %s becomes %s; they get boxes after a round%s",
            project_id,
            champion.version,
            ", ".join(unmatched),
            "" if champion.trained else ", or by predicted_values",
        )


def _note_unreadable(
    unreadable: Unreadable, tasks: list[Task], predictions: list[Prediction], config: LabelConfig
) -> int:
    failed = 0
    for task, prediction in zip(tasks, predictions, strict=True):
        error = prediction.get("error")
        if error is None:
            unreadable.discard(task.get("id"))
            continue
        failed += 1
        name = image_name(config.image_of(task["data"]))
        if unreadable.add(task.get("id"), name, error.removeprefix(f"{name}: ")):
            log.warning("task %s: %s", task.get("id"), error)
    return failed
