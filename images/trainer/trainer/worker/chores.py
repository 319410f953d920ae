"""Recurring tasks, which go on after failures such as a service that is down."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from labelloop.studio import StudioError
from trainer.peers.backend import BackendDown
from trainer.peers.projects import Project
from trainer.system.failures import FULL, bug, in_words

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
NO_ANSWER = (0, 502, 503, 504)
"""The statuses of a Label Studio that is away, whatever project is asked for."""


class ProjectsFailed(Exception):
    """The work failed for some projects only. reasons: by the project's id."""

    def __init__(self, reasons: Mapping[int, Exception]) -> None:
        super().__init__("; ".join(f"project {project}: {in_words(why)}" for project, why in reasons.items()))
        self.reasons = dict(reasons)


def for_each(work: Callable[[Project], object], projects: Iterable[Project]) -> None:
    """Calls `work` on every project, even after failures.

    Raises:
        Exception: the first failure that concerns all projects, as when a service is away. ProjectsFailed:
            the failures, if each concerns its project alone.
    """
    failures: dict[int, Exception] = {}
    for project in projects:
        try:
            work(project)
        except Exception as error:
            failures[project.id] = error
    tell(failures)


def tell(failures: Mapping[int, Exception]) -> None:
    """Raises what `for_each` does of these failures, which are by the project's id."""
    for error in failures.values():
        if _concerns_all(error):
            raise error
    if failures:
        raise ProjectsFailed(failures) from next(iter(failures.values()))


def _concerns_all(error: Exception) -> bool:
    if isinstance(error, StudioError):
        return error.status in NO_ANSWER
    return isinstance(error, BackendDown) or (isinstance(error, OSError) and error.errno in FULL)


@dataclass
class Chore:
    """Runs `work` when it is due.

    work: returns the seconds until its next run, or None for `every_s`. After a failure, the reason is logged
    and `work` is tried again after a pause, which doubles from FIRST_PAUSE_S to longest_pause_s; the same
    reason is logged again after pauses that double up to LONGEST_PAUSE_S. error: the reason, if it concerns
    the service; project_errors: by the project's id, if it concerns projects alone.
    """

    name: str
    every_s: float
    work: Callable[[], float | None]
    clock: Callable[[], float] = time.monotonic
    longest_pause_s: float = LONGEST_PAUSE_S
    error: str | None = None
    project_errors: dict[int, str] = field(default_factory=dict)
    _next: float = 0.0
    _pause_s: float = field(default=FIRST_PAUSE_S, repr=False)
    _said: str = field(default="", repr=False)
    _say_again: float = field(default=0.0, repr=False)

    @property
    def failing(self) -> bool:
        return self.error is not None or bool(self.project_errors)

    def due_in(self) -> float:
        """Seconds until the chore is due; 0 when it is."""
        return max(0.0, self._next - self.clock())

    def poke(self) -> None:
        """Makes the chore due at once, unless it waits after a failure."""
        if not self.failing:
            self._next = 0.0

    def run_if_due(self) -> None:
        if self.due_in() > 0:
            return
        try:
            wanted = self.work()
        except Exception as failure:
            self._failed(failure)
            return
        if self.failing:
            log.info("%s: works again", self.name)
        self.error, self.project_errors, self._pause_s, self._said = None, {}, FIRST_PAUSE_S, ""
        self._next = self.clock() + (self.every_s if wanted is None else wanted)

    def _failed(self, failure: Exception) -> None:
        if isinstance(failure, ProjectsFailed):
            causes = list(failure.reasons.values())
            self.error = None
            self.project_errors = {project: in_words(why) for project, why in failure.reasons.items()}
            words = str(failure)
        else:
            causes = [failure]
            self.error, self.project_errors = in_words(failure), {}
            words = self.error
        now, pause_s = self.clock(), min(self._pause_s, self.longest_pause_s)
        self._next = now + pause_s
        if words == self._said and now < self._say_again:
            return
        bugs = [cause for cause in causes if bug(cause)]
        log.warning("%s: %s; again in %.0f s", self.name, words, pause_s, exc_info=bugs[0] if bugs else None)
        self._said, self._say_again = words, now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
