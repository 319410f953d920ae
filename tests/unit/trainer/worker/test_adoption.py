"""Projects with an ML backend of somebody else's are left alone until somebody asks for ours."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from support.fake_studio import FakeStudio
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.connection import TITLE
from labelloop.registry import ProjectModels
from trainer.env import TrainerSettings
from trainer.peers.projects import SIMULATED

THEIRS = {"project": 1, "url": "http://theirs:9090", "title": "theirs"}


def adopting(bench: WorkerBench, value: object) -> None:
    bench.settings = bench.settings.model_copy(update={"adopt_projects": value})
    bench.worker = bench.new_worker()


@pytest.mark.parametrize("setting", [True, False])
def test_nothing_is_done_in_a_project_with_another_backend(
    setting: bool, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    adopting(bench, setting)
    fake_studio.backends = [THEIRS]
    fake_studio.add_task()
    for _ in range(4):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    bench.worker.predict()
    assert fake_studio.predictions == [] and fake_studio.projects[1]["model_version"] == ""
    assert bench.rounds.open_round(1) is None and fake_studio.backends == [THEIRS]


def test_it_gets_no_starting_model_either(bench: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.backends = [THEIRS]
    bench.worker.look_around()
    bench.worker.beat()
    assert bench.children == []


@pytest.mark.parametrize("asked", ["by the setting", "by our backend", "by the name of ours elsewhere"])
def test_who_asks_gets_the_loop(
    asked: str, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    fake_studio.backends = [THEIRS]
    task = fake_studio.add_task()
    if asked == "by the setting":
        adopting(bench, "all")
    elif asked == "by our backend":
        fake_studio.backends.append({"project": 1, "url": bench.settings.mlbackend_url, "title": "mine"})
    else:  # the stack has moved since
        fake_studio.backends.append({"project": 1, "url": "http://mlbackend:9090", "title": TITLE})
    bench.worker.look_around()
    bench.worker.predict()
    assert fake_studio.versions_of(task) == ["v0000"]
    if asked == "by the setting":
        assert [row["url"] for row in fake_studio.backends] == [THEIRS["url"], bench.settings.mlbackend_url]


def test_a_backend_that_comes_and_goes_is_noticed(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    round_, _ = bench.rounds.request(1, "test")
    for backends, works in (([], True), ([THEIRS], False), ([], True)):
        fake_studio.backends = list(backends)
        fake_studio.add_task()
        before = len(fake_studio.predictions)
        bench.worker.look_around()
        bench.worker.predict()
        assert (len(fake_studio.predictions) > before) is works
        assert not bench.rounds.cancel_requested(round_.id), "a round that was begun is not lost"


def test_a_simulation_is_never_left_alone(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    fake_studio.projects[1]["description"] = SIMULATED
    fake_studio.backends = [THEIRS]
    task = fake_studio.add_task()
    bench.worker.look_around()
    bench.worker.predict()
    assert fake_studio.versions_of(task) == ["v0000"]


def test_one_projects_failure_keeps_no_other_from_its_rounds(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    fake_studio.add_project(2)
    second = bench.new_worker()._registry.project(2)
    second.promote(add_version(second, tmp_path / "second", round_id=1))
    bench.worker.look_around()
    fake_studio.broken = {1}
    for _ in range(25):
        fake_studio.add_task(2, annotations=1)
    bench.worker.look.poke()
    bench.worker.look.run_if_due()
    assert bench.worker.look.error is None and "500" in bench.worker.look.project_errors[1]
    assert bench.rounds.open_round(2) is not None


@pytest.mark.parametrize(
    "given, value", [("true", True), ("no", False), ("0", False), ("ALL", "all"), (" all ", "all")]
)
def test_the_setting(given: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADOPT_PROJECTS", given)
    assert TrainerSettings().adopt_projects == value
    monkeypatch.setenv("ADOPT_PROJECTS", "some")
    with pytest.raises(ValidationError, match="adopt_projects"):
        TrainerSettings()


def test_label_studio_is_told_where_it_reaches_the_backend_itself(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    """As in a cluster under Docker, whose trainer is on the host's own network."""
    bench.settings = bench.settings.model_copy(update={"mlbackend_for_studio": "http://mlbackend:9090"})
    bench.worker = bench.new_worker()
    bench.worker.look_around()
    assert [row["url"] for row in fake_studio.backends] == ["http://mlbackend:9090"]
