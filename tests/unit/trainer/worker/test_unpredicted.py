"""Images that nobody could read get no prediction: they are listed, and tried again until they are read."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend, Unread
from trainer.peers.projects import fetch
from trainer.rounds.unpredicted import FIRST_RETRY_S, LONGEST_RETRY_S, Unpredicted
from trainer.worker.predicting import PORTION
from trainer.worker.prelabel import Prelabeller

pytestmark = pytest.mark.usefixtures("models")


class Clock:
    """The time of day. It stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.time", made.time)
    return made


@pytest.fixture
def listed(loop_settings: TrainerSettings) -> Callable[[], list[int]]:
    """The tasks without a prediction, as they are on the disk."""
    return lambda: [failure.task for failure in Unpredicted(loop_settings.rounds_dir, 1).failures()]


def test_an_image_that_nobody_read_gets_no_prediction_and_is_named(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend, loop_settings: TrainerSettings
) -> None:
    tasks = add_tasks(fake_studio, 3)
    fake_backend.unreadable = {tasks[1]}
    assert run() == 2
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0000"], [], ["v0000"]]
    assert fake_studio.projects[1]["model_version"] == "v0000", "the others' boxes are shown"
    [failure] = Unpredicted(loop_settings.rounds_dir, 1).failures()
    assert (failure.task, failure.name, failure.reason) == (tasks[1], "images/2.jpg", "the file is empty")


def test_an_image_under_a_path_of_a_tasks_data_is_named_too(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend, loop_settings: TrainerSettings
) -> None:
    config = fake_studio.projects[1]["label_config"]
    fake_studio.projects[1]["label_config"] = config.replace("$image", "$meta.photo")
    [task] = add_tasks(fake_studio, 1)
    fake_studio.tasks[task]["data"] = {"meta": {"photo": fake_studio.tasks[task]["data"]["image"]}}
    fake_backend.unreadable = {task}
    assert run() == 0
    [failure] = Unpredicted(loop_settings.rounds_dir, 1).failures()
    assert failure.name == "images/1.jpg"


def test_what_an_earlier_backend_answers_for_an_unread_image_is_not_stored_either(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    listed: Callable[[], list[int]],
) -> None:
    task = fake_studio.add_task()
    answer = {"result": [], "score": 1.0, "model_version": "v0000", "error": "images/1.jpg: answered 503"}
    monkeypatch.setattr(fake_backend, "_result", lambda task: answer)
    assert run() == 0
    assert fake_studio.predictions == [] and listed() == [task]


def test_it_is_tried_again_after_pauses_that_double_and_heals(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    clock: Clock,
    listed: Callable[[], list[int]],
) -> None:
    task = fake_studio.add_task()
    fake_backend.unreadable = {task}
    run()
    for attempt in range(2, 5):
        clock.now += FIRST_RETRY_S * 2 ** (attempt - 2) - 0.1
        run()
        assert len(fake_backend.asked) == attempt - 1, "not before its time"
        clock.now += 0.2
        run()
        assert len(fake_backend.asked) == attempt
    fake_backend.unreadable = set()
    clock.now += LONGEST_RETRY_S
    assert run() == 1
    assert fake_studio.versions_of(task) == ["v0000"] and listed() == []


def test_no_pause_is_longer_than_the_longest_nor_survives_a_clock_set_back(
    loop_settings: TrainerSettings, clock: Clock
) -> None:
    found = Unpredicted(loop_settings.rounds_dir, 1)
    for _ in range(40):
        found.add(7, "a.jpg", "gone")
    assert found.due(clock.now + LONGEST_RETRY_S) == {7} and not found.due(clock.now)
    assert found.due(clock.now - 86400.0) == {7}
    found.save()
    (loop_settings.rounds_dir / "unpredicted-1.json").write_text("[{")
    assert Unpredicted(loop_settings.rounds_dir, 1).failures() == []


def test_asked_for_it_is_tried_at_once(
    prelabeller: Prelabeller, studio: Studio, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    tasks = add_tasks(fake_studio, PORTION + 3)
    fake_backend.unreadable = set(tasks)
    prelabeller.run(fetch(studio, 1), again=True)
    assert sorted(fake_backend.asked) == tasks, "each once, however many fail"
    fake_backend.unreadable = set(tasks[:2])
    assert prelabeller.run(fetch(studio, 1), again=True) == PORTION + 1
    assert prelabeller.missing(1) == 0
    assert [failure.task for failure in prelabeller.unpredicted(1).failures()] == tasks[:2]


@pytest.mark.parametrize("gone", ["labelled", "deleted"])
def test_it_leaves_the_list_with_its_task(
    gone: str,
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    listed: Callable[[], list[int]],
) -> None:
    tasks = add_tasks(fake_studio, 2)
    fake_backend.unreadable = set(tasks)
    run()
    assert listed() == tasks
    if gone == "labelled":
        fake_studio.tasks[tasks[0]]["total_annotations"] = 1
    else:
        del fake_studio.tasks[tasks[0]]
    run()
    assert listed() == [tasks[1]]


def test_new_images_do_not_wait_for_those_of_a_server_that_is_away(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend, clock: Clock
) -> None:
    away = add_tasks(fake_studio, 3 * PORTION)
    fake_backend.unreadable = set(away)
    for _ in range(4):
        run()
    assert set(fake_backend.asked) == set(away)
    fake_backend.asked.clear()
    late = fake_studio.add_task()
    clock.now += LONGEST_RETRY_S
    assert run() == 1
    assert fake_backend.asked[0] == late and fake_studio.versions_of(late) == ["v0000"]


def test_a_server_that_is_away_costs_other_projects_two_portions(
    bench: WorkerBench,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    tmp_path: Path,
) -> None:
    second = Registry(bench.settings.models_dir).project(2)
    second.promote(add_version(second, tmp_path / "second"))
    fake_studio.add_project(2)
    away = add_tasks(fake_studio, 10 * PORTION)
    fake_backend.unreadable = set(away)
    other = fake_studio.add_task(2)
    bench.worker.look_around()
    bench.worker.predict()
    assert fake_studio.versions_of(other) == ["v0000"]
    assert len(fake_backend.asked) <= 2 * PORTION + 1


def test_many_that_wait_are_not_listed_in_every_run(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.worker.prelabel.PAGE", 2 * PORTION)
    fake_backend.unreadable = set(add_tasks(fake_studio, 2 * PORTION + 10))
    for _ in range(5):
        run()
    fake_studio.lists.clear()
    run()
    assert {asked for asked, _ in fake_studio.lists} == {0}, "they are counted alone"
    late = fake_studio.add_task()
    assert run() == 1
    assert fake_studio.versions_of(late) == ["v0000"]


def test_a_prediction_that_label_studio_refuses_is_named_and_holds_up_nothing(
    run: Callable[[], int], fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    tasks = add_tasks(fake_studio, 4)
    fake_studio.refuse = {tasks[2]}
    assert run() == 3
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0000"], ["v0000"], [], ["v0000"]]
    [failure] = Unpredicted(loop_settings.rounds_dir, 1).failures()
    assert failure.task == tasks[2] and "Label Studio refuses its boxes" in failure.reason


def test_empty_predictions_that_an_earlier_release_stored_for_unread_images_are_made_anew(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    loop_settings: TrainerSettings,
    models: ProjectModels,
) -> None:
    lie, blank, good = add_tasks(fake_studio, 3)
    fake_backend.blank = {blank}
    run()
    for row in fake_studio.predictions:
        if row["task"] == lie:
            row.update(result=[], score=1.0)
    path = loop_settings.rounds_dir / "predicted-labels-1.json"
    path.write_text(path.read_text().replace(" read", ""))  # as the former release wrote it
    assert run() == 1
    assert fake_studio.versions_of(lie) == ["0000 (earlier)", "v0000"], "a person may have the old one open"
    assert fake_studio.versions_of(blank) == fake_studio.versions_of(good) == ["v0000"]
    assert run() == 0


def test_the_backends_word_on_an_image_is_no_prediction(
    backend: Backend, studio: Studio, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    first, second = add_tasks(fake_studio, 2)
    fake_backend.unreadable = {first}
    answer = backend.predict(fetch(studio, 1), [fake_studio.tasks[first], fake_studio.tasks[second]], "v0000")
    unread, row = answer
    assert unread == Unread(first, "images/1.jpg: the file is empty")
    assert isinstance(row, dict) and row["task"] == second
