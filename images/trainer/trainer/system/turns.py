"""Each of many has its turn, whatever became of the one before."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def in_turn(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `work` gives of each item; the first failure is raised after the last turn, others are logged."""
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
