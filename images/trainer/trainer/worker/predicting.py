"""Predictions for many tasks, asked batch by batch of the ML backend and of a cluster's detectors."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from labelloop.batches import batches
from trainer.peers.backend import Backend, Unread
from trainer.peers.pool import Pool
from trainer.peers.projects import Project

Row = dict[str, Any]
Predictions = list[Row | Unread]

BATCH = 16
"""The number of tasks per request for predicting."""
AT_ONCE = 2
"""The ML backend gets so many requests at once: what comes before and after the model's work on one is done
while it works on another.
"""
LEAST_S, SLOWER = 60.0, 4.0
"""A detector has as long as the backend for so many times the images, and LEAST_S at least."""
UNSEEN_S = 600.0
"""For so long detectors are not asked that could read no image of a batch, as of a server that only the
head's machine reaches.
"""
PORTION = BATCH * (AT_ONCE + 1)
"""The number of tasks per portion of the ML backend alone."""


class Predictors:
    """The ML backend, and the detectors of a cluster where there is one: who is free has the next tasks.

    The backend never gets more than AT_ONCE requests, whatever becomes of the detectors: people's wait behind
    them. A detector that takes much longer than the backend would is not waited for.
    """

    def __init__(self, backend: Backend, pool: Pool | None = None) -> None:
        self._backend, self._pool = backend, pool
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._an_image_s = 0.0
        self._unseen_until: dict[int, float] = {}

    @property
    def at_once(self) -> int:
        """How many can be asked at once."""
        return AT_ONCE + (self._pool.places if self._pool is not None else 0)

    def predict(
        self, project: Project, tasks: Sequence[Mapping[str, Any]], version: str, classes: Sequence[str]
    ) -> Predictions:
        """As Backend.predict, which has the last word on images that a detector cannot read.

        classes: those of the version's card.
        """
        made = self._of_detectors(project, tasks, version, classes)
        if made is None:
            return self._of_backend(project, tasks, version)
        unread = [task for task, row in zip(tasks, made, strict=True) if isinstance(row, Unread)]
        if not unread:
            return made
        if len(unread) == len(tasks):
            self._unseen_until[project.id] = time.monotonic() + UNSEEN_S
        again = iter(self._of_backend(project, unread, version))
        return [next(again) if isinstance(row, Unread) else row for row in made]

    def _of_detectors(
        self, project: Project, tasks: Sequence[Mapping[str, Any]], version: str, classes: Sequence[str]
    ) -> Predictions | None:
        """None where they cannot, or see no image of this project."""
        if self._pool is None or time.monotonic() < self._unseen_until.get(project.id, 0.0):
            return None
        within_s = max(LEAST_S, SLOWER * self._an_image_s * len(tasks))
        return self._pool.predict(project, tasks, version, classes, within_s)

    def _of_backend(self, project: Project, tasks: Sequence[Mapping[str, Any]], version: str) -> Predictions:
        with self._room:
            began = time.monotonic()
            made = self._backend.predict(project, tasks, version)
            self._an_image_s = (time.monotonic() - began) / max(len(tasks), 1)
            return made


def in_portions(
    ask: Callable[[Sequence[Row]], Predictions], tasks: Sequence[Row], at_once: int = AT_ONCE
) -> Iterator[tuple[list[Row], list[Unread]]]:
    """Predictions for the tasks, in their order, in portions of one batch more than `at_once`, and what could
    not be read of each. The next portion is asked for while the caller works on one.

    ask: of BATCH tasks, called on `at_once` threads. Raises: what `ask` raises, after which no more are
    asked.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix="predict") as pool:
        before: list[Future[Predictions]] = []
        try:
            for portion in batches(tasks, BATCH * (at_once + 1)):
                asked = [pool.submit(ask, batch) for batch in batches(portion, BATCH)]
                if before:
                    yield _sorted(before)
                before = asked
            if before:
                yield _sorted(before)
        finally:
            pool.shutdown(cancel_futures=True)


def _sorted(asked: Sequence[Future[Predictions]]) -> tuple[list[Row], list[Unread]]:
    made = [row for future in asked for row in future.result()]
    unread = [row for row in made if isinstance(row, Unread)]
    return [row for row in made if not isinstance(row, Unread)], unread
