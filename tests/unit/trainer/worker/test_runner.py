"""How many rounds run beside each other."""

from pathlib import Path

import pytest
from support.fake_child import FakeChild

from trainer.rounds.table import Rounds, State
from trainer.system.children import RETRY
from trainer.worker.runner import RoundRunner


@pytest.fixture
def rounds(tmp_path: Path) -> Rounds:
    """With a requested round of each of three projects."""
    made = Rounds(tmp_path)
    for project in (1, 2, 3):
        made.request(project, "a test")
    return made


def runner_of(rounds: Rounds, at_once: int) -> tuple[RoundRunner, list[FakeChild]]:
    children: list[FakeChild] = []

    def spawn(arguments: list[str], log_path: Path) -> FakeChild:
        children.append(FakeChild(arguments, log_path))
        return children[-1]

    return RoundRunner(rounds, spawn, lambda: None, at_once), children  # type: ignore[arg-type]


def begun(children: list[FakeChild]) -> list[str]:
    return [child.arguments[1] for child in children]


@pytest.mark.parametrize(("at_once", "expected"), [(1, ["1"]), (2, ["1", "2"]), (4, ["1", "2", "3"])])
def test_so_many_rounds_run_at_once_the_oldest_first(
    at_once: int, expected: list[str], rounds: Rounds
) -> None:
    runner, children = runner_of(rounds, at_once)
    for _ in range(6):
        runner.tend()
    assert begun(children) == expected
    rounds.move(1, State.FAILED, error="a test")
    children[0].exit = 0
    for _ in range(6):
        runner.tend()
    assert begun(children) == (["1", "2", "3"] if at_once > 1 else ["1", "2"])
    runner.stop()
    assert all(child.stopped for child in children[1:])


def test_one_that_waits_for_the_cluster_keeps_no_other_from_its_turn(rounds: Rounds) -> None:
    runner, children = runner_of(rounds, 1)
    runner.tend()
    children[0].exit = RETRY
    for _ in range(3):
        runner.tend()
    assert begun(children) == ["1", "2"], "the first one is tried again after a pause"
