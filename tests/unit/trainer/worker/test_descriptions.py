"""The worker keeps the description of a project at how far it is, unless a person wrote it."""

import json
from typing import Any

import pytest
from support.fake_studio import FakeStudio, add_labelled, add_tasks
from support.worker_bench import WorkerBench

from labelloop.instructions import ADOPTED, DESCRIPTION
from labelloop.registry import ProjectModels, Registry
from trainer.peers.projects import fetch
from trainer.rounds.table import State
from trainer.worker.descriptions import Descriptions


def described(bench: WorkerBench, fake_studio: FakeStudio) -> str:
    bench.worker.look_around()
    bench.worker.describe()
    return str(fake_studio.projects[1]["description"])


@pytest.fixture
def labelled(bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio) -> FakeStudio:
    """2 of 6 images are labelled; a round starts at 3."""
    add_tasks(fake_studio, 4)
    for _ in range(2):
        fake_studio.add_task(annotations=1)
    return fake_studio


@pytest.mark.parametrize("own", [DESCRIPTION, ADOPTED])
def test_it_tells_how_far_it_is(own: str, bench: WorkerBench, labelled: FakeStudio) -> None:
    labelled.projects[1]["description"] = own
    assert described(bench, labelled) == f"2 of 6 images labelled, next round in 1. {own}"
    labelled.add_task(annotations=1)
    assert described(bench, labelled) == f"3 of 7 images labelled, a round is under way. {own}"
    bench.rounds.move(bench.rounds.open_rounds()[0].id, State.FAILED)
    assert described(bench, labelled) == f"3 of 7 images labelled, next round in 3. {own}"


def test_without_rounds_that_start_by_themselves_none_is_promised(
    bench: WorkerBench, labelled: FakeStudio
) -> None:
    bench.settings.retrain_every = 0
    labelled.projects[1]["description"] = ADOPTED
    assert described(bench, labelled) == f"2 of 6 images labelled. {ADOPTED}"


@pytest.mark.parametrize("theirs", ["", "Our cats", f"Our cats. {ADOPTED}"])
def test_a_persons_own_stays(theirs: str, bench: WorkerBench, labelled: FakeStudio) -> None:
    labelled.projects[1]["description"] = theirs
    assert described(bench, labelled) == theirs


def test_what_a_person_writes_at_that_moment_stays_too(bench: WorkerBench, labelled: FakeStudio) -> None:
    labelled.projects[1]["description"] = ADOPTED
    bench.worker.look_around()
    labelled.projects[1]["description"] = "Our cats"
    bench.worker.describe()
    assert labelled.projects[1]["description"] == "Our cats"


def test_figures_that_stay_are_not_written_again(
    bench: WorkerBench, labelled: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled.projects[1]["description"] = ADOPTED
    written: list[str] = []
    update = bench.studio.update_project

    def noted(project_id: int, **fields: Any) -> Any:
        written.append(fields["description"])
        return update(project_id, **fields)

    monkeypatch.setattr(bench.studio, "update_project", noted)
    for _ in range(3):
        described(bench, labelled)
    assert written == [f"2 of 6 images labelled, next round in 1. {ADOPTED}"]


@pytest.mark.parametrize(("held_out", "promised"), [(4, "next round in 5"), (5, "next round in 1")])
def test_it_promises_a_round_when_one_could_begin(
    held_out: int, promised: str, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    """The recorded sides count, as they do where a round is asked for, when no snapshot has counted them."""
    bench.settings.holdout_min, bench.settings.holdout_percent = 5, 20
    add_labelled(fake_studio, 20)
    fake_studio.projects[1]["description"] = ADOPTED
    sides = {f"{number:064x}": "holdout" if number < held_out else "train" for number in range(20)}
    (models.path / "split.json").write_text(json.dumps({"sides": sides}))
    descriptions = Descriptions(
        bench.studio, bench.settings, Registry(bench.settings.models_dir), bench.rounds
    )
    descriptions.update(fetch(bench.studio, 1))
    assert promised in fake_studio.projects[1]["description"]
