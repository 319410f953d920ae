"""Has models scored on today's hold-out while nothing else is to be done, by a separate process."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelloop.errors import Explained
from labelloop.registry import Registry
from trainer.judging import scores
from trainer.judging.scores import Score
from trainer.judging.standing import Stand, Standing, standing
from trainer.peers.projects import SIMULATED, Project
from trainer.rounds.table import Rounds
from trainer.system.children import RETRY, Ended, Spawn, Watched, describe
from trainer.worker.chores import ProjectsFailed
from trainer.worker.prelabel import at_work

log = logging.getLogger(__name__)

WATCH_S = 0.5
QUIET_LOOKS = 2
"""A process begins when so many looks in a row found nothing else to do: a promotion's pre-labelling begins
seconds after its round is over.
"""
DEATHS_ALLOWED = 2


class ScoringFailed(Explained):
    """Models cannot be scored now; the message says why."""


@dataclass(frozen=True)
class _Scoring:
    """What the process is for. due: what it scores, in that order."""

    project_id: int
    due: tuple[Stand, ...]


class Scorer:
    """Starts the process for one project after the other, and stops it as soon as other work begins.

    busy: whether other heavy work of the worker is under way. A model at which the process died
    DEATHS_ALLOWED times is noted as one that could not be scored, and the others get their turn. A project
    whose files cannot be read or written comes behind the others.
    """

    def __init__(
        self, registry: Registry, rounds: Rounds, spawn: Spawn, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._registry = registry
        self._rounds = rounds
        self._busy = busy
        self._process = Watched[_Scoring](spawn, rounds.root / "scoring.log")
        self._quiet = 0
        self._deaths: dict[tuple[int, str, str], int] = {}
        self._behind: set[int] = set()

    def tend(self, projects: Sequence[Project]) -> float | None:
        """Begins, watches or stops the process. Returns: the seconds until the next look, or None for the
        usual pause.

        Raises:
            ScoringFailed: the disk cannot be read or written.
        """
        idle = not self._other_work(projects)
        self._quiet = self._quiet + 1 if idle else 0
        running = self._process.of
        if running is not None:
            self._watch(running, idle)
        elif self._quiet >= QUIET_LOOKS:
            self._begin(projects)
        return WATCH_S if self._process.of is not None else None

    def stop(self) -> None:
        self._process.stop()

    def _other_work(self, projects: Sequence[Project]) -> bool:
        if self._busy() or self._rounds.open_rounds():
            return True
        return any(at_work(self._rounds.root, project.id) for project in projects)

    def _begin(self, projects: Sequence[Project]) -> None:
        for project in sorted(projects, key=lambda project: project.id in self._behind):
            due = () if project.description == SIMULATED else tuple(self._standing(project.id).due())
            if due:
                names = ", ".join(stand.name for stand in due)
                log.info("project %d: scoring %s on today's hold-out", project.id, names)
                arguments = ["trainer.judging.scoring", str(project.id), *(stand.key for stand in due)]
                self._process.begin(arguments, _Scoring(project.id, due))
                return

    def _watch(self, running: _Scoring, idle: bool) -> None:
        ended = self._process.ended()
        if ended is None:
            if not idle:
                self._process.stop()
                log.info("project %d: scoring waits, there is other work", running.project_id)
            return
        (self._behind.add if ended.status == RETRY else self._behind.discard)(running.project_id)
        if ended.status == RETRY:
            raise ProjectsFailed({running.project_id: ScoringFailed(ended.why)})
        if ended.status != 0:
            self._died(ended)

    def _died(self, ended: Ended[_Scoring]) -> None:
        """Counts the death against the model that the process was at: the first that has no score yet."""
        running = ended.of
        found = self._standing(running.project_id)
        left = {stand.key for stand in found.due()}
        at = next((stand for stand in running.due if stand.key in left), None)
        if at is None or found.round is None:
            return
        case = (running.project_id, at.key, at.of)
        self._deaths[case] = self._deaths.get(case, 0) + 1
        reason = f"{describe(ended.status)}: {ended.words}"
        log.warning("project %d: scoring %s was ended by %s", running.project_id, at.name, reason)
        if self._deaths[case] >= DEATHS_ALLOWED:
            del self._deaths[case]
            failed = Score.failure(found.round, f"its process was ended by {reason}")
            scores.keep(self._registry.project(running.project_id), at.key, at.of, failed)

    def _standing(self, project_id: int) -> Standing:
        return standing(self._registry.project(project_id), self._rounds, project_id)
