"""Whether a round can work, looked at before one is asked for.

Everybody who asks for a round comes through here: the dashboard, `make retrain`, Start Training and the
worker itself.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelloop.errors import Explained
from labelloop.regions import BOXES
from labelloop.registry import ProjectModels, Registry, RegistryError
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED
from trainer.dataset import split
from trainer.dataset.collector import newest_submitted
from trainer.dataset.survey import Survey
from trainer.env import TrainerSettings
from trainer.peers.projects import Project
from trainer.rounds.table import Round, Rounds
from trainer.words import plural
from trainer.worker.adoption import why_left_alone

MB = 1_000_000
ROOM = 100 * MB
"""What a round writes beside weights: its snapshot, its log, its losses."""
ROOM_PER_WEIGHTS = 10
"""Checkpoint and optimizer twice, since one is written before the other goes; start, candidate, version."""
LOOK_AGAIN_S = 30.0
PAGE = 20


class CannotWork(Explained):
    """A round could not come to a result now; the message says why, and what to do first."""


@dataclass(frozen=True)
class _Look:
    labelled: int
    found: bool
    at: float


class DrawnBoxes:
    """Whether a project's labelled images have a box at all, remembered for as long as that cannot change.

    clock: seconds, as time.monotonic.
    """

    def __init__(self, studio: Studio, clock: Callable[[], float] = time.monotonic) -> None:
        self._studio = studio
        self._clock = clock
        self._looks: dict[int, _Look] = {}

    def _holds(self, known: _Look, labelled: int) -> bool:
        if known.found:
            return known.labelled <= labelled
        return known.labelled == labelled and self._clock() - known.at < LOOK_AGAIN_S

    def any(self, project_id: int, labelled: int) -> bool:
        """Whether one of the `labelled` images has a box.

        Raises:
            StudioError: Label Studio does not answer.
        """
        known = self._looks.get(project_id)
        if known is not None and self._holds(known, labelled):
            return known.found
        tasks = self._studio.iter_tasks(
            project_id, LABELLED, fields="all", omit="drafts,predictions", page_size=PAGE
        )
        found = any(_has_a_box(task) for task in tasks)
        self._looks[project_id] = _Look(labelled, found, self._clock())
        return found


def _has_a_box(task: Mapping[str, Any]) -> bool:
    annotation = newest_submitted(task.get("annotations"))
    results = annotation.get("result") if annotation is not None else None
    return isinstance(results, list) and any(
        isinstance(row, Mapping) and row.get("type") in BOXES for row in results
    )


class Preflight:
    """Says why a round cannot work now, and opens those that can."""

    def __init__(self, settings: TrainerSettings, studio: Studio, registry: Registry) -> None:
        self._settings = settings
        self._studio = studio
        self._registry = registry
        self._boxes = DrawnBoxes(studio)

    def request(self, rounds: Rounds, project: Project, requested_by: str) -> tuple[Round, bool]:
        """Opens a round, or joins the one that is open: (round, joined).

        Raises:
            CannotWork: it could not come to a result. StudioError: Label Studio does not answer.
        """
        if rounds.open_round(project.id) is None:
            why = self.why_not(project, self._studio.count_tasks(project.id, LABELLED))
            if why is not None:
                raise CannotWork(why)
        return rounds.request(project.id, requested_by)

    def why_not(self, project: Project, labelled: int) -> str | None:
        """Why a round of the project could not come to a result, and what to do first; None when it could.

        labelled: how many of its images are labelled.

        Raises:
            StudioError: Label Studio does not answer.
        """
        if project.refusal is not None:
            return f"project {project.id}: {project.refusal}"
        left_alone = why_left_alone(project, self._settings)
        if left_alone is not None:
            return left_alone
        models = self._registry.project(project.id)
        try:
            version = models.champion()
            if version is None:
                return (
                    "Wait for the starting model, from which the first round begins; it is being written. "
                    "`make status` says if it cannot be."
                )
            knows = project.label_map(models.card(version)).knows_any
        except RegistryError as error:
            return str(error)
        return self._too_few(project, labelled, version, knows) or self._too_full(models, version)

    def _too_few(self, project: Project, labelled: int, champion: str, knows: bool) -> str | None:
        survey = Survey.load(self._settings.rounds_dir, project.id)
        current = survey is not None and survey.label_config == project.label_config
        left_out = len(survey.images) if survey is not None and current else 0
        usable = max(labelled - left_out, 0)
        # A champion that knows none of the labels is replaced by whatever has learnt some of them.
        needed = self._settings.comparable_from if knows else 1
        there = held_out(self._settings, self._registry.project(project.id), survey)
        if usable < needed and (usable == 0 or there < self._settings.holdout_min):
            return _label_more(needed - usable, labelled, left_out, knows, champion, self._settings)
        if (survey is None or not survey.boxes) and not self._boxes.any(project.id, labelled):
            told = (
                "the labelled image has none"
                if labelled == 1
                else f"none of the {labelled} labelled images has one"
            )
            return f"Draw boxes first: {told}, so there is nothing to learn."
        return None

    def _too_full(self, models: ProjectModels, champion: str) -> str | None:
        needed = ROOM + ROOM_PER_WEIGHTS * _size(models.folder(champion) / "weights.pth")
        for folder in (self._settings.rounds_dir, self._settings.models_dir):
            free = shutil.disk_usage(folder).free
            if free < needed:
                return (
                    f"Make room first: a round may need {needed / MB:.0f} MB, and the disk of "
                    f"volumes/{folder.name} has {free / MB:.0f} MB left."
                )
        return None


def held_out(settings: TrainerSettings, models: ProjectModels, survey: Survey | None) -> int:
    """How many images the hold-out has; where no snapshot has counted them, as after a change of the label
    config, how many it may have: the recorded ones.
    """
    if survey is not None and survey.holdout is not None:
        return survey.holdout
    try:
        sides = split.load(models.path / split.SPLIT_FILE)
    except split.SplitError:  # the round says what to do
        return settings.holdout_min
    return sum(side is split.Side.HOLDOUT for side in sides.values())


def _label_more(
    missing: int, labelled: int, left_out: int, knows: bool, champion: str, settings: TrainerSettings
) -> str:
    if not labelled:
        there = "None is labelled yet; skipped ones do not count."
    elif left_out:
        there = f"{plural(labelled, 'is', 'are')} labelled, of which {left_out} cannot be used (page Data)."
    else:
        there = f"{plural(labelled, 'is', 'are')} labelled; skipped ones do not count."
    if not knows:
        return f"Label {plural(missing, 'more image')} first, with a box. {there}"
    return (
        f"Label {plural(missing, 'more image')} first. {there} {champion} knows these labels already, so a "
        f"new version has to beat it on images held out for that: {settings.holdout_min} at least, which "
        f"{settings.comparable_from} labelled ones give."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
