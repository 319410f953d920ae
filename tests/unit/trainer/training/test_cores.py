"""Threads follow the cores that other programs leave."""

import os
from collections.abc import Iterator

import pytest

from trainer.training.cores import Cores, Usage, usage


@pytest.mark.parametrize(
    ("used", "idle", "threads"),
    [
        (4.0, 0.0, 4),  # all are ours
        (1.0, 3.0, 4),  # the others have ended
        (2.6, 0.0, 2),  # somebody else has more than one
        (3.8, 0.0, 4),  # and now next to nothing
        (0.2, 0.0, 1),
        (1.0, 30.0, 4),  # a limit of ours
    ],
)
def test_there_are_as_many_threads_as_cores(used: float, idle: float, threads: int) -> None:
    seconds = 5.0
    looks: Iterator[Usage] = iter(
        (Usage(100.0, 7.0, 50.0), Usage(100.0 + seconds, 7.0 + used * seconds, 50.0 + idle * seconds))
    )
    assert Cores(lambda: next(looks)).threads(4) == threads


def test_a_machine_tells_what_was_used_and_what_was_idle() -> None:
    before = usage()
    while (after := usage()).used - before.used < 0.05:
        pass
    assert after.now > before.now
    assert 0 <= after.idle - before.idle <= (after.now - before.now) * len(os.sched_getaffinity(0)) + 0.1
