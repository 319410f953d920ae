"""Has promotions tried on the images that are labelled afterwards, by a separate process."""

import logging
from collections.abc import Sequence

from labelloop.errors import Explained
from labelloop.registry import Registry
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED
from trainer.judging.trial import Outcome
from trainer.peers.projects import Project
from trainer.rounds.table import Rounds
from trainer.system.children import Spawn, Watched
from trainer.worker.chores import ProjectsFailed
from trainer.worker.trial import on_trial

log = logging.getLogger(__name__)

WATCH_S = 0.5


class TrialFailed(Explained):
    """A promotion cannot be tried now; the message says why."""


class TrialKeeper:
    """Starts the process for one project after the other, once enough images were labelled for the next look.
    A round goes first: beside its training the process's two models may be more than memory holds.

    A project whose process failed is tried again with its next labelled image.
    """

    def __init__(self, studio: Studio, registry: Registry, rounds: Rounds, spawn: Spawn) -> None:
        self._studio, self._registry, self._rounds = studio, registry, rounds
        self._process = Watched[int](spawn, rounds.root / "trial.log")
        self._last: dict[tuple[int, int], int] = {}

    def tend(self, projects: Sequence[Project]) -> float | None:
        """Begins or watches the process. Returns: the seconds until the next look, or None for the usual
        pause.

        Raises:
            StudioError: Label Studio does not answer. ProjectsFailed: a trial could not be carried on.
        """
        if self._process.of is not None:
            self._watch()
        else:
            self._begin(projects)
        return WATCH_S if self._process.of is not None else None

    def stop(self) -> None:
        self._process.stop()

    def _begin(self, projects: Sequence[Project]) -> None:
        if self._rounds.open_rounds():
            return
        for project in projects:
            found = on_trial(self._rounds, self._registry.project(project.id), project.id)
            if found is None or not project.retrains_itself:
                continue
            round_, trial = found
            labelled = self._studio.count_tasks(project.id, LABELLED)
            before = self._last.get((project.id, round_.id), round_.labelled or 0)
            if trial.outcome is Outcome.OPEN and labelled < before + max(trial.wanted, 1):
                continue
            self._last[project.id, round_.id] = labelled
            self._process.begin(["trainer.worker.trial", str(project.id)], project.id)
            return

    def _watch(self) -> None:
        ended = self._process.ended()
        if ended is not None and ended.status != 0:
            raise ProjectsFailed({ended.of: TrialFailed(ended.why)})
