"""Learning at once, as the worker has it: when its process begins, and which tasks get boxes of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.worker_bench import WorkerBench

from labelloop.registry import Card, ProjectModels
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.instant.process import LINGER_S, watch
from trainer.peers.backend import Backend
from trainer.peers.projects import DEMO
from trainer.system.children import RETRY
from trainer.worker.ahead import AHEAD
from trainer.worker.chores import ProjectsFailed

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
    submit(fake_studio)
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
    from trainer.instant.process import Explained

    times: list[float] = []
    learnt_in: list[int] = []

    def learn(project: int) -> str | None:
        if project == 1:
            raise Explained("fcos has no head that can be learnt at once")
        learnt_in.append(project)
        return None

    watch(learn, [1, 2], lambda: len(times) * LINGER_S / 4, times.append)
    assert learnt_in == [2] * 4
