"""Does the same work for many items, so that one failure does not stop the rest."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def in_turn(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Calls `work` on every item, even after failures; returns the results.

    The first failure is raised after the last item, the other failures are logged.
    """
    done: list[R] = []
    failures: list[Exception] = []
    for item in items:
        try:
            done.append(work(item))
        except Exception as error:
            failures.append(error)
    for failure in failures[1:]:
        log.warning("%s", failure)
    if failures:
        raise failures[0]
    return done
