"""Has starting models written one at a time, each by a separate process."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from trainer.system.children import Spawn, Watched

log = logging.getLogger(__name__)

SLOW_S = 900.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


@dataclass(frozen=True)
class _Writing:
    project_id: int
    since: float


@dataclass(frozen=True)
class _Failed:
    """The failed attempts for one project. not_before: when the next may begin."""

    reason: str
    attempts: int
    not_before: float


class StartingModels:
    """Starts the processes and watches them. rounds_dir: the folder for their log, starting.log.

    A project whose model cannot be written is tried again after a pause, which doubles. The others do not
    wait for it. clock: seconds, as time.monotonic.
    """

    def __init__(self, rounds_dir: Path, spawn: Spawn, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = Watched[_Writing](spawn, rounds_dir / "starting.log")
        self._failed: dict[int, _Failed] = {}

    def write_for(self, project_ids: Collection[int]) -> None:
        """Begins to write the model of one of these projects, unless another is being written. Those for
        which that has not failed yet come first.

        project_ids: all projects without a starting model.
        """
        self._failed = {p: failed for p, failed in self._failed.items() if p in project_ids}
        if self.busy:
            return
        fresh = [p for p in project_ids if p not in self._failed]
        again = [p for p in self._failed if self._failed[p].not_before <= self._clock()]
        for project_id in [*fresh, *sorted(again, key=lambda p: self._failed[p].not_before)][:1]:
            log.info("project %d: writing the starting model", project_id)
            of = _Writing(project_id, self._clock())
            self._process.begin(["trainer.training.starting", str(project_id)], of)

    def tend(self) -> None:
        """Checks whether the model that is being written is done, or could not be written."""
        ended = self._process.ended()
        if ended is None:
            return
        project_id = ended.of.project_id
        if ended.status == 0:
            self._failed.pop(project_id, None)
            log.info("project %d: %s", project_id, ended.words)
            return
        before = self._failed.get(project_id)
        attempts = before.attempts + 1 if before else 1
        # The first attempt may have failed by chance: it is repeated at once.
        pause_s = min(FIRST_PAUSE_S * 2 ** min(attempts - 2, 10), LONGEST_PAUSE_S) if attempts > 1 else 0.0
        log_path = self._process.log_path
        reason = f"the starting model could not be written: {ended.why} (see {log_path})"
        self._failed[project_id] = _Failed(reason, attempts, self._clock() + pause_s)
        log.warning("project %d: %s; again in %.0f s", project_id, reason, pause_s)

    @property
    def busy(self) -> bool:
        """Whether a model is being written."""
        return self._process.of is not None

    def problems(self) -> dict[int, str]:
        """Why models cannot be written, by the project's id; empty as long as all goes well."""
        problems = {project_id: failed.reason for project_id, failed in self._failed.items()}
        writing = self._process.of
        if writing is not None and self._clock() - writing.since > SLOW_S:
            minutes = (self._clock() - writing.since) / 60
            problems[writing.project_id] = (
                f"its starting model has been being written for {minutes:.0f} min "
                f"(see {self._process.log_path})"
            )
        return problems

    def stop(self) -> None:
        self._process.stop()
