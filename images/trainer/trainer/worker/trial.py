"""Carries a project's trial on, in a process of low priority: `python -m trainer.worker.trial <project>`.

Each image's result is written before the next is looked at, and the outcome before the version in service is
changed, so a process that is killed loses at most the image that it was at.

Exit status 0: all that can be said now is said; 69: Label Studio does not answer, or an earlier process has
not ended yet; any other: the process died.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labelloop.boxes import Boxes
from labelloop.choice import chosen
from labelloop.clocks import EVER, is_ahead
from labelloop.detector import Detector
from labelloop.errors import Explained
from labelloop.images import ImageError
from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.regions import from_results
from labelloop.registry import ProjectModels, Registry
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from labelloop.tidying import Rules, tidied
from trainer.dataset import junk
from trainer.dataset.collector import first_submitted, newest_submitted
from trainer.dataset.examine import Examiner
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.left_out import LeftOut
from trainer.dataset.since import tasks_since, unseen
from trainer.dataset.snapshot import Snapshot, snapshotting
from trainer.env import get_settings
from trainer.judging.corrections import on_image
from trainer.judging.detections import detections, load_detector
from trainer.judging.effort import TABLES, Work
from trainer.judging.trial import Outcome, Trial
from trainer.peers.projects import Project, fetch
from trainer.rounds.table import Round, Rounds, State
from trainer.system.children import RETRY, die_with_parent

log = logging.getLogger(__name__)

Json = Mapping[str, Any]

NICENESS = 15
LEFT_OVER_S = 20.0
HISTORY = 20


def lock_path(rounds_dir: Path) -> Path:
    """The lock of the process that carries a trial on."""
    return rounds_dir / "trial.lock"


def on_trial(rounds: Rounds, models: ProjectModels, project_id: int) -> tuple[Round, Trial] | None:
    """The project's promotion whose trial is open, or whose outcome is not told yet; None without one."""
    history = rounds.history(project_id, HISTORY)
    promoted = next((round_ for round_ in history if round_.state is State.PROMOTED), None)
    if promoted is None or promoted.version is None or promoted.parent is None:
        return None
    kept = models.versions()
    trial = Trial.load(rounds.folder(promoted.id))
    if trial is None:
        proven = _proven(rounds, history, promoted.parent, chosen(models))
        trial = Trial(version=promoted.version, former=promoted.parent, proven=proven)
    if trial.proven not in kept:
        trial = trial.without_proven()
    told = not trial.reason or trial.reason in (promoted.verdict or "")
    if trial.outcome is not Outcome.OPEN:
        return None if told else (promoted, trial)
    served = models.in_service() == trial.version and trial.former in kept
    return (promoted, trial) if served and chosen(models) != trial.version else None


def _proven(rounds: Rounds, history: Sequence[Round], version: str, by_person: str | None) -> str | None:
    """The last version up to `version` that had stood its trial, or that no round or a person has put into
    service. None if it is `version` itself. history: a project's rounds, the newest first.
    """
    made_by = {round_.version: round_ for round_ in reversed(history) if round_.state is State.PROMOTED}
    proven = version
    while (made := made_by.pop(proven, None)) and made.parent and proven != by_person:
        trial = Trial.load(rounds.folder(made.id))
        if trial is not None and trial.outcome is not Outcome.OPEN:
            break
        proven = made.parent
    return None if proven == version else proven


@dataclass
class Trials:
    """What is needed to carry trials on."""

    settings: Settings
    studio: Studio
    registry: Registry
    rounds: Rounds

    def carry_on(self, project_id: int) -> Trial | None:
        """Compares the versions on the images that were labelled since the promotion, and acts on it.

        Returns: the trial; None when the project has none.

        Raises:
            StudioError: Label Studio does not answer. Busy: a snapshot is being taken for too long.
                RegistryError: one of the versions cannot be loaded. OSError: the disk cannot be used.
        """
        models = self.registry.project(project_id)
        found = on_trial(self.rounds, models, project_id)
        if found is None:
            return None
        round_, trial = found
        folder = self.rounds.folder(round_.id)
        if trial.outcome is Outcome.OPEN:
            costs, confidence = TABLES[self.settings.costs], self.settings.gate_confidence
            for task, work in self._compared(round_, trial, models):
                trial = trial.with_image(task, work).looked_at(costs, confidence)
                trial.write(folder)
                if trial.outcome is not Outcome.OPEN:
                    break
        if trial.outcome is not Outcome.OPEN:
            self._conclude(round_, trial, models)
        return trial

    def _conclude(self, round_: Round, trial: Trial, models: ProjectModels) -> None:
        """Brings an earlier version back if it is the better one, and says so with the round.

        A version that a person has put into service since stays.
        """
        if trial.outcome is Outcome.UNDONE:
            # Asked while nobody can move the pointer: a person may be choosing it in this moment.
            models.exchange(trial.version, trial.comes_back, unless=lambda: chosen(models) == trial.version)
        if trial.outcome is Outcome.UNDONE and models.in_service() != trial.comes_back:
            off = trial.model_copy(update={"outcome": Outcome.OFF, "reason": ""})
            off.write(self.rounds.folder(round_.id))
            return
        self.rounds.record(round_.id, verdict=f"{round_.verdict}; {trial.reason}")
        log.info("round %d: %s", round_.id, trial.reason)

    def _compared(
        self, round_: Round, trial: Trial, models: ProjectModels
    ) -> Iterator[tuple[int, dict[str, Work] | None]]:
        """Tasks that were first labelled since the promotion and are not in the trial yet, the first labelled
        first, each with the work with each version; None where it does not count.
        """
        project = fetch(self.studio, round_.project)
        snapshot = Snapshot.load(self.rounds.folder(round_.id))
        if project.labels != snapshot.label_config:
            return
        over = _over(round_)
        looked_at = {*trial.tasks, *trial.left_out}
        fresh = [
            (begun, task)
            for task in tasks_since(self.studio, project.id, over, predictions=True)
            if int(task["id"]) not in looked_at and (begun := first_submitted(task)) and begun > over
        ]
        fresh.sort(key=lambda row: (row[0], row[1]["id"]))
        proposals = {
            version: _Proposals(models, version, project, self.settings)
            for version in (*trial.rivals, trial.version)
        }
        for _, task in fresh:
            image = self._image(task, project, snapshot)
            if image is None:
                yield int(task["id"]), None
            else:
                yield (
                    int(task["id"]),
                    {version: its.work(task, image) for version, its in proposals.items()},
                )

    def _image(self, task: Json, project: Project, snapshot: Snapshot) -> SnapshotImage | None:
        """The image with its true boxes; None when it is not used, or a version may have seen it."""
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None:
            return None
        used = Examiner(project.labels, self.settings, frozenset()).examine(task, annotation)
        if isinstance(used, LeftOut):
            return None
        with snapshotting(self.settings.rounds_dir):
            found = unseen([used.image], snapshot, project.id, self.settings, lambda fraction, words: None)
        return junk.without(found[0]) if found else None


def _over(promoted: Round) -> datetime:
    """When the promotion was made. EVER if that is in the future, as the clock was ahead then: no image would
    be labelled after it, and the snapshot alone tells which images the versions have not seen.
    """
    over = datetime.fromisoformat(promoted.finished_at or promoted.requested_at)
    return EVER if is_ahead(over) else over


class _Proposals:
    """What a version proposes: its stored prediction, or, where it has none, its boxes made now."""

    def __init__(self, models: ProjectModels, version: str, project: Project, settings: Settings) -> None:
        self._models, self._version, self._project, self._settings = models, version, project, settings
        self._card = models.card(version)
        self._detector: Detector | None = None

    def work(self, task: Json, image: SnapshotImage) -> Work:
        """What a person would have had to do with the version's boxes of an image."""
        boxes = self._stored(task, image)
        costs, labels = TABLES[self._settings.costs], len(self._project.labels.names)
        return on_image(image, self._made(image) if boxes is None else boxes, [0.0] * labels, costs)

    def _stored(self, task: Json, image: SnapshotImage) -> Boxes | None:
        rows = [row for row in task.get("predictions") or [] if row.get("model_version") == self._version]
        if not rows:
            return None
        newest = max(rows, key=lambda row: int(row["id"]))
        return from_results(newest.get("result") or [], self._project.labels, (image.width, image.height))[0]

    def _made(self, image: SnapshotImage) -> Boxes:
        config = self._project.labels
        if not self._project.label_map(self._card).knows_any:
            return Boxes.empty()
        if self._detector is None:
            alone = self._settings.model_copy(update={"threads": 1})
            self._detector = load_detector(self._models.folder(self._version), alone)
        file = self._settings.labelloop_home / image.file
        found = next(detections(self._detector, self._detector.label_map(config), [file]))
        if isinstance(found, ImageError):
            return Boxes.empty()
        thresholds = self._card.thresholds(config.names, self._settings.score_threshold)
        kept = tidied(found, Rules.of(self._card, config)).kept
        return found.select(kept & (found.scores >= thresholds[found.labels]))


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.nice(NICENESS)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    registry = Registry(settings.models_dir)
    trials = Trials(settings, Studio.connect(settings), registry, Rounds(settings.rounds_dir, registry))
    try:
        with holding(lock_path(settings.rounds_dir), LEFT_OVER_S):
            trial = trials.carry_on(int(arguments[0]))
    except (Busy, OSError, StudioError) as error:
        print(error)
        return RETRY
    except Explained as error:
        print(error)
        return 1
    print(trial.reason or f"{len(trial.tasks)} images compared" if trial else "no promotion is on trial")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
