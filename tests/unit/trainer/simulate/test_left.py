"""The project of a simulation that was killed goes with the next one; nobody else's ever does."""

from dataclasses import replace
from typing import Any

import pytest
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import OPTIONS, MakeRun

from labelloop import locks
from labelloop.studio import StudioError
from trainer.peers.projects import SIMULATED
from trainer.simulate.left import lock_path
from trainer.simulate.project import LabellingProject
from trainer.simulate.run import World

SHORT = replace(OPTIONS, schedule=("none",), budget=1)
KILLED, ALIVE, KEPT, OWN, GONE = 1, 2, 3, 4, 7


def test_what_a_killed_run_left_goes_with_the_next_and_nobody_elses(
    make_run: MakeRun, world: World, worker: FakeWorker, labelling_studio: LabellingStudio
) -> None:
    """Somebody has made a simulated project her own. One with a lock is gone already."""
    for number in (KILLED, ALIVE, KEPT, OWN):
        labelling_studio.add_project(number)["description"] = "Mine" if number == OWN else SIMULATED
    locked = [lock_path(world.settings.rounds_dir, number) for number in (KILLED, OWN, GONE)]
    for path in locked:
        with locks.holding(path):
            pass  # which leaves the file, as a kill does
    alive = locks.holding(lock_path(world.settings.rounds_dir, ALIVE))
    with world.display.console.capture() as said, alive:
        list(make_run(SHORT).steps())
    assert labelling_studio.deleted == [KILLED, 5], "its own is the fifth"
    assert set(labelling_studio.projects) == {ALIVE, KEPT, OWN}
    assert "Project 1 (project 1) was left by a run that was killed." in said.get()
    assert not world.registry.project(KILLED).path.exists()
    assert [path.exists() for path in locked] == [False] * 3
    assert list(world.settings.rounds_dir.glob("simulated-project.*")) == [
        lock_path(world.settings.rounds_dir, ALIVE)
    ]


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_holds_its_projects_lock_from_its_first_task_on_unless_it_keeps_it(
    make_run: MakeRun, world: World, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    path = lock_path(world.settings.rounds_dir, 1)
    request, held = world.studio.request, []

    def noted(method: str, address: str, **more: Any) -> Any:
        if address.endswith("/import"):
            held.append(path.exists() and locks.is_held(path))
        return request(method, address, **more)

    monkeypatch.setattr(world.studio, "request", noted)
    list(make_run(replace(SHORT, keep=keep)).steps())
    assert held == [not keep] and not path.exists()


def test_a_project_that_could_not_be_deleted_goes_with_the_next_run(
    make_run: MakeRun,
    world: World,
    worker: FakeWorker,
    labelling_studio: LabellingStudio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(project: LabellingProject) -> None:
        raise StudioError("away for a test")

    with monkeypatch.context() as patch, pytest.raises(StudioError):
        patch.setattr(LabellingProject, "delete", away)
        list(make_run(SHORT).steps())
    assert labelling_studio.deleted == []
    list(make_run(SHORT).steps())
    assert labelling_studio.deleted == [1, 2]
