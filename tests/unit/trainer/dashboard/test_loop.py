"""The status that all pages share: gathered once, and not waited for by a page that has the one before."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.dashboard import loop as module
from trainer.dashboard.loop import STALE, WatchedLoop
from trainer.health.status import Status

WAIT_S = 30.0


class Gathering:
    """Stands in for `gather`: each status has its number as its problem. Held back until `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go, self.started = 0, threading.Event(), threading.Semaphore(0)
        self.error: Exception | None = None
        self.projects: list[Any] = []
        self.go.set()

    def __call__(self, *parts: Any) -> Status:
        self.begun += 1
        number = self.begun
        self.started.release()
        assert self.go.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        return Status([], list(self.projects), [], [str(number)])


@pytest.fixture
def gathering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gathering]:
    made = Gathering()
    monkeypatch.setattr(module, "gather", made)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    yield made
    made.go.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, as one wants them."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def watched(loop: WatchedLoop, gathering: Gathering, clock: list[float]) -> WatchedLoop:
    """Has the first status."""
    loop.forget_status()
    loop.status_s = 4.0
    gathering.begun = 0
    assert number(loop) == 1
    return loop


def number(loop: WatchedLoop) -> int:
    return int(loop.status().problems[0])


def settled(loop: WatchedLoop) -> None:
    """Returns once nothing is gathered."""
    gathering = loop._gathering
    if gathering is not None:
        gathering.exception(WAIT_S)


def test_a_page_that_would_wait_gets_the_one_before_and_a_later_one_the_new(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    clock[0] += 5.0
    gathering.go.clear()
    assert [number(watched) for _ in range(3)] == [1, 1, 1]
    assert all(gathering.started.acquire(timeout=WAIT_S) for _ in range(2))
    assert gathering.begun == 2, "once for all pages"
    gathering.go.set()
    settled(watched)
    assert number(watched) == 2


def test_one_that_is_young_is_shown_as_it_is(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    clock[0] += 3.9
    assert number(watched) == 1 and gathering.begun == 1


def test_one_that_is_too_old_or_was_forgotten_is_not_shown(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    clock[0] += 4.0 * STALE + 0.1
    assert number(watched) == 2
    watched.forget_status()
    assert number(watched) == 3


def test_what_was_begun_before_a_change_is_not_kept(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    clock[0] += 5.0
    gathering.go.clear()
    assert number(watched) == 1
    before = watched._gathering
    watched.forget_status()
    gathering.go.set()
    assert before is not None and before.result(WAIT_S).problems == ["2"]
    assert number(watched) == 3


def test_a_project_that_is_younger_than_the_status_is_waited_for(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    clock[0] += 5.0
    gathering.projects = [SimpleNamespace(id=70, title="new")]
    gathering.go.clear()
    with ThreadPoolExecutor(1) as pool:
        choosing = pool.submit(watched.choose, 70)
        with pytest.raises(TimeoutError):
            choosing.result(0.1)
        gathering.go.set()
        assert choosing.result(WAIT_S) == 70


def test_a_failure_is_told_once_and_the_next_page_asks_again(
    watched: WatchedLoop, gathering: Gathering, clock: list[float]
) -> None:
    watched.forget_status()
    gathering.error = OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"):
        watched.status()
    gathering.error = None
    assert number(watched) == 3
