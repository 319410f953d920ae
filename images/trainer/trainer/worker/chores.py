"""Recurring tasks, which go on after failures such as a service that is down."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainer.system.failures import bug, in_words

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


@dataclass
class Chore:
    """Runs `work` when it is due.

    work: returns the seconds until its next run, or None for `every_s`. After a failure, the reason is logged
    and `work` is tried again after a pause, which doubles from FIRST_PAUSE_S to LONGEST_PAUSE_S.
    """

    name: str
    every_s: float
    work: Callable[[], float | None]
    clock: Callable[[], float] = time.monotonic
    error: str | None = None
    _next: float = 0.0
    _pause_s: float = field(default=FIRST_PAUSE_S, repr=False)

    def due_in(self) -> float:
        """Seconds until the chore is due; 0 when it is."""
        return max(0.0, self._next - self.clock())

    def poke(self) -> None:
        """Makes the chore due at once, unless it waits after a failure."""
        if self.error is None:
            self._next = 0.0

    def run_if_due(self) -> None:
        if self.due_in() > 0:
            return
        try:
            wanted = self.work()
        except Exception as failure:
            self._failed(failure)
            return
        if self.error is not None:
            log.info("%s: works again", self.name)
        self.error, self._pause_s = None, FIRST_PAUSE_S
        self._next = self.clock() + (self.every_s if wanted is None else wanted)

    def _failed(self, failure: Exception) -> None:
        self.error = in_words(failure)
        log.warning(
            "%s: %s; again in %.0f s",
            self.name,
            self.error,
            self._pause_s,
            exc_info=bug(failure),
        )
        self._next = self.clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
