"""Learning at once, as the worker has it: when its process begins, and which tasks get boxes of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import clocks
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop import clocks as clock_module
from labelloop import task_filters
from labelloop.registry import Card, ProjectModels, Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.instant.errors import CannotLearn
from trainer.instant.process import CANNOT, LINGER_S, watch
from trainer.peers.backend import Backend
from trainer.peers.projects import DEMO, fetch
from trainer.rounds.table import Rounds
from trainer.system.children import RETRY
from trainer.worker import at_once, learn_now
from trainer.worker.ahead import AHEAD
from trainer.worker.chores import ProjectsFailed
from trainer.worker.retention import Retention

LEARNT = Card(detector="yolox_nano", classes=["ball"], dataset_fingerprint="instant")
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


def submit(fake_studio: FakeStudio, project: int = 1) -> int:
    return fake_studio.add_task(project, annotations=1)


def learnt(models: ProjectModels) -> str:
    version = models.instant.write(models.champion() or "", LEARNT, b"weights")
    models.instant.serve(version)
    return version


@pytest.fixture
def worker(bench: WorkerBench, models: ProjectModels) -> WorkerBench:
    """It has looked once, and one image was labelled long ago."""
    bench.worker.look_around()
    bench.worker.learn_at_once()
    return bench


def test_a_submit_begins_the_process(worker: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.tasks[submit(fake_studio)]["updated_at"] = LONG_AGO
    worker.worker.learn_at_once()
    assert worker.children == []
    submit(fake_studio)
    worker.worker.learn_at_once()
    worker.worker.learn_at_once()
    assert [child.arguments for child in worker.children] == [["trainer.instant.process", "1"]]


def test_a_submit_in_another_project_begins_it_for_both(worker: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(2)
    submit(fake_studio)
    worker.worker.learn_at_once()
    worker.worker.look_around()
    submit(fake_studio, 2)
    worker.worker.learn_at_once()
    worker.worker.learn_at_once()
    assert worker.children[0].stopped
    assert worker.children[-1].arguments == ["trainer.instant.process", "1", "2"]


def test_its_failure_is_told_and_the_next_submit_begins_it_again(
    worker: WorkerBench, fake_studio: FakeStudio
) -> None:
    submit(fake_studio)
    worker.worker.learn_at_once()
    worker.children[-1].exit = RETRY
    with pytest.raises(ProjectsFailed, match="learning at once failed: its last words"):
        worker.worker.learn_at_once()
    worker.worker.learn_at_once()
    assert len(worker.children) == 2, "what it has not learnt is learnt by the next one"


def test_a_champion_that_cannot_be_learnt_upon_is_not_tried_again(
    worker: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    submit(fake_studio)
    worker.worker.learn_at_once()
    worker.children[-1].exit = CANNOT
    submit(fake_studio)
    worker.worker.learn_at_once()
    assert len(worker.children) == 1
    models.promote(add_version(models, tmp_path / "made", 1))
    worker.worker.learn_at_once()
    assert len(worker.children) == 2


def test_it_ends_with_the_worker(worker: WorkerBench, fake_studio: FakeStudio) -> None:
    submit(fake_studio)
    worker.worker.learn_at_once()
    worker.worker.stop()
    worker.worker.run()
    assert worker.children[-1].stopped


def test_the_demo_is_left_alone(worker: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1]["description"] = DEMO
    worker.worker.look_around()
    submit(fake_studio)
    worker.worker.learn_at_once()
    assert worker.children == []


def test_switched_off_it_neither_learns_nor_serves(
    loop_settings: TrainerSettings,
    studio: Studio,
    backend: Backend,
    models: ProjectModels,
    fake_studio: FakeStudio,
) -> None:
    learnt(models)
    off = WorkerBench(loop_settings.model_copy(update={"instant": False}), studio, backend)
    off.worker.look_around()
    off.worker.learn_at_once()
    submit(fake_studio)
    off.worker.learn_at_once()
    assert off.children == []
    assert models.serving() == "v0000"


def test_only_the_next_tasks_get_its_boxes(
    run: Callable[[], int], models: ProjectModels, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    fake_studio.projects[1]["sampling"] = "Uncertainty sampling"
    tasks = add_tasks(fake_studio, 3 * AHEAD)
    run()
    for prediction in fake_studio.predictions:  # the last task is to be labelled first
        prediction["score"] = 1.0 - prediction["task"] / 100
    version = fake_backend.version = learnt(models)
    assert run() == AHEAD
    assert fake_studio.projects[1]["model_version"] == version
    assert [t for t in tasks if version in fake_studio.versions_of(t)] == tasks[-AHEAD:]
    assert run() == 0
    for task in tasks[-3:]:
        fake_studio.tasks[task]["total_annotations"] = 1
    later = fake_backend.version = learnt(models)
    assert run() == AHEAD
    assert [t for t in tasks if later in fake_studio.versions_of(t)] == tasks[-AHEAD - 3 : -3]


def test_the_champions_predictions_go_on_once_it_serves_itself(
    run: Callable[[], int], models: ProjectModels, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    tasks = add_tasks(fake_studio, 2 * AHEAD)
    fake_backend.version = learnt(models)
    assert run() == AHEAD
    models.instant.serve(None)
    fake_backend.version = "v0000"
    assert run() == len(tasks)
    assert fake_studio.projects[1]["model_version"] == "v0000"


def test_the_process_ends_when_nothing_new_comes() -> None:
    times: list[float] = []
    found = iter(["i0000.0001", None, "i0000.0002"])
    watch(lambda project: next(found, None), [1], lambda: len(times) * LINGER_S / 4, times.append)
    assert len(times) == 2 + 4


def test_one_project_that_cannot_be_learnt_keeps_no_other_from_it() -> None:
    times: list[float] = []
    learnt_in: list[int] = []

    def learn(project: int) -> str | None:
        if project == 1:
            raise CannotLearn("fcos has no head that can be learnt at once")
        learnt_in.append(project)
        return None

    watch(learn, [1, 2], lambda: len(times) * LINGER_S / 4, times.append)
    assert learnt_in == [2] * 4


def test_a_simulation_learns_when_it_asks_for_it(
    loop_settings: TrainerSettings,
    studio: Studio,
    backend: Backend,
    models: ProjectModels,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Learner:
        def __init__(self, *parts: object) -> None:
            pass

        def learn(self, project: object) -> None:
            fake_backend.version = learnt(models)

    monkeypatch.setattr(learn_now, "Learner", Learner)
    tasks = add_tasks(fake_studio, 2 * AHEAD)
    learn = learn_now.LearnNow(loop_settings, studio, backend, 1)
    assert learn() == "i0000.0001"
    assert sum("i0000.0001" in fake_studio.versions_of(task) for task in tasks) == AHEAD
    assert fake_studio.projects[1]["model_version"] == "i0000.0001"


def test_the_predictions_of_superseded_ones_go_once_they_have_settled(
    run: Callable[[], int],
    loop_settings: TrainerSettings,
    studio: Studio,
    models: ProjectModels,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
) -> None:
    add_tasks(fake_studio, AHEAD)
    run()
    for _ in range(2):
        fake_backend.version = learnt(models)
        run()
    registry = Registry(loop_settings.models_dir)
    for settled_after, left in ((timedelta(days=1), 3), (timedelta(0), 2)):
        rounds = Rounds(loop_settings.rounds_dir)
        Retention(loop_settings, studio, registry, rounds, settled_after).run(fetch(studio, 1))
        assert len({row["model_version"] for row in fake_studio.predictions}) == left
    assert {row["model_version"] for row in fake_studio.predictions} == {"v0000", "i0000.0002"}


def test_a_clock_that_was_ahead_neither_ends_it_nor_keeps_it_busy(
    worker: WorkerBench, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as meanwhile:
        clocks.set_ahead(meanwhile, at_once, clock_module, task_filters)
        fake_studio.tasks[submit(fake_studio)]["updated_at"] = (datetime.now(UTC) + clocks.BY).isoformat()
        worker.worker.learn_at_once()
    assert len(worker.children) == 1
    worker.children[-1].exit = 0
    for _ in range(3):
        worker.worker.learn_at_once()
    assert len(worker.children) == 1, "what is of the future is not new for years"
    submit(fake_studio)
    worker.worker.learn_at_once()
    assert len(worker.children) == 2
