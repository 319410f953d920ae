"""Starting models are written one at a time; one that fails holds up no other."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_child import FakeChild

from trainer.worker.starting_models import SLOW_S, StartingModels


class Desk:
    """Starting models whose processes only pretend, and a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.children: list[FakeChild] = []
        self.models = StartingModels(folder, self._spawn, lambda: self.now)

    def _spawn(self, arguments: list[str], log_path: Path) -> Any:
        self.children.append(FakeChild(arguments, log_path))
        return self.children[-1]

    def look(self, *lacking: int) -> None:
        self.models.tend()
        self.models.write_for(lacking)

    def end(self, status: int) -> None:
        self.children[-1].exit = status

    @property
    def begun(self) -> list[str]:
        return [child.arguments[-1] for child in self.children]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_one_after_the_other(desk: Desk) -> None:
    desk.look(1, 2)
    desk.look(1, 2)
    assert desk.begun == ["1"]
    desk.end(0)
    desk.look(2)
    assert desk.begun == ["1", "2"] and desk.models.problems() == {}


def test_a_failure_is_told_until_it_is_mended_and_holds_up_no_other(desk: Desk) -> None:
    desk.look(1, 2, 3)
    desk.end(1)
    desk.look(1, 2, 3)
    desk.end(0)
    desk.look(1, 3)
    desk.end(0)
    desk.look(1)
    assert desk.begun == ["1", "2", "3", "1"]
    assert desk.models.problems().keys() == {1}
    assert "the starting model could not be written" in desk.models.problems()[1]
    desk.end(0)
    desk.look()
    assert desk.models.problems() == {}


def test_after_a_second_failure_it_waits_longer_and_longer(desk: Desk) -> None:
    pauses = []
    for _ in range(9):
        waited = 0.0
        before = len(desk.children)
        while len(desk.children) == before:
            desk.look(1)
            desk.now, waited = desk.now + 1.0, waited + 1.0
        pauses.append(waited - 1.0)
        desk.end(1)
    assert pauses == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0]


def test_a_project_that_is_gone_is_no_problem_any_more(desk: Desk) -> None:
    desk.look(1)
    desk.end(1)
    desk.look(1)
    desk.end(1)
    desk.look()
    assert desk.models.problems() == {}


def test_one_that_does_not_end_is_told(desk: Desk) -> None:
    desk.look(1)
    assert desk.models.problems() == {}
    desk.now = SLOW_S + 1.0
    assert "its starting model has been being written for 15 min" in desk.models.problems()[1]
