"""Pre-labelling: every unlabelled task gets one prediction of the champion, whatever happens on the way."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.killed import Killed
from support.shapes import LABEL_CONFIG
from support.versions import add_version

from labelloop.locks import Busy, holding
from labelloop.registry import ProjectModels
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.peers.backend import BackendError
from trainer.peers.projects import fetch
from trainer.rounds.progress import Progress, read_progress
from trainer.worker.predicting import BATCH, PORTION
from trainer.worker.prelabel import PAGE, PredictionsLost, Prelabeller

pytestmark = pytest.mark.usefixtures("models")


def test_every_unlabelled_task_gets_one_prediction(run: Callable[[], int], fake_studio: FakeStudio) -> None:
    tasks = add_tasks(fake_studio, PORTION * 2 + 3)
    labelled = fake_studio.add_task(annotations=1)
    assert run() == len(tasks)
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0000"]] * len(tasks)
    assert fake_studio.versions_of(labelled) == []
    assert fake_studio.projects[1]["model_version"] == "v0000"


def test_more_tasks_than_a_page(run: Callable[[], int], fake_studio: FakeStudio) -> None:
    add_tasks(fake_studio, PAGE + PORTION + 1)
    assert run() == PAGE + PORTION + 1


def test_again_changes_nothing(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    add_tasks(fake_studio, 5)
    run()
    asked = list(fake_backend.asked)
    assert run() == 0
    assert fake_backend.asked == asked


@pytest.mark.parametrize("moment", ["before_predict", "before_import", "after_import"])
def test_killed_in_the_third_portion_and_run_again(
    moment: str,
    prelabeller: Prelabeller,
    studio: Studio,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = add_tasks(fake_studio, PORTION * 4)
    calls = 0

    def killing(original: Callable[..., Any], at: int, after: bool) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            nonlocal calls
            number = calls = calls + 1
            if number == at and not after:
                raise Killed
            answer = original(*args)
            if number == at:
                raise Killed
            return answer

        return called

    with monkeypatch.context() as patch:
        if moment == "before_predict":
            predict = prelabeller._backend.predict
            patch.setattr(
                prelabeller._backend, "predict", killing(predict, at=2 * PORTION // BATCH + 1, after=False)
            )
        else:
            patch.setattr(
                studio,
                "store_predictions",
                killing(studio.store_predictions, at=3, after=moment == "after_import"),
            )
        with pytest.raises(Killed):
            prelabeller.run(fetch(studio, 1))
    stored = PORTION * (3 if moment == "after_import" else 2)
    assert len(fake_studio.predictions) == stored
    prelabeller.run(fetch(studio, 1))
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0000"]] * len(tasks)


def test_what_label_studio_asked_for_meanwhile_is_not_stored_twice(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    tasks = add_tasks(fake_studio, 4)

    def somebody_opens_the_second_task(ids: list[int]) -> None:
        fake_studio.predictions.append(
            {"task": tasks[1], "result": [], "score": 1.0, "model_version": "v0000"}
        )

    fake_backend.before_predict = somebody_opens_the_second_task
    assert run() == 3
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0000"]] * 4


def test_a_new_champion_is_waited_for(
    prelabeller: Prelabeller, studio: Studio, fake_studio: FakeStudio, models: ProjectModels, tmp_path: Path
) -> None:
    add_tasks(fake_studio, 2)
    models.promote(add_version(models, tmp_path / "made"))
    with pytest.raises(BackendError, match="serves v0000 for project 1, not v0001"):
        prelabeller.run(fetch(studio, 1))
    assert fake_studio.predictions == []


def test_a_promotion_in_the_middle_starts_over_with_the_new_champion(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.worker.prelabel.SWAP_PAUSE_S", 0.0)
    tasks = add_tasks(fake_studio, PORTION * 3)

    def promote(ids: list[int]) -> None:
        if tasks[PORTION] in ids and fake_backend.version == "v0000":
            models.promote(add_version(models, tmp_path / "made"))
            fake_backend.version = "v0001"

    fake_backend.before_predict = promote
    run()
    assert {p["model_version"] for p in fake_studio.predictions if p["task"] > PORTION} == {"v0001"}
    assert all(fake_studio.versions_of(task).count("v0001") == 1 for task in tasks)
    assert fake_studio.projects[1]["model_version"] == "v0001"


def test_a_rollback_keeps_the_predictions_that_are_there(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    tasks = add_tasks(fake_studio, 3)
    run()
    models.promote(add_version(models, tmp_path / "made"))
    fake_backend.version = "v0001"
    run()
    models.promote("v0000")
    fake_backend.version = "v0000"
    late = fake_studio.add_task()
    assert run() == 1
    assert all(sorted(fake_studio.versions_of(task)) == ["v0000", "v0001"] for task in tasks)
    assert fake_studio.versions_of(late) == ["v0000"]
    assert fake_studio.projects[1]["model_version"] == "v0000"


def test_label_studio_is_told_a_version_once_several_backends_serve_it(
    prelabeller: Prelabeller,
    loop_settings: TrainerSettings,
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    """After a roll-back there is nothing to predict, so that nothing else waits for them."""
    prelabeller._settings = loop_settings.model_copy(update={"backends": 2})
    add_tasks(fake_studio, 3)
    run()
    models.promote(add_version(models, tmp_path / "made"))
    fake_backend.version = "v0001"
    run()
    models.promote("v0000")
    with pytest.raises(BackendError, match="serves v0001"):
        run()
    assert fake_studio.projects[1]["model_version"] == "v0001"
    fake_backend.version = "v0000"
    run()
    assert fake_studio.projects[1]["model_version"] == "v0000"


def test_a_rollback_while_predictions_are_stored_leaves_the_projects_version(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.worker.prelabel.SWAP_PAUSE_S", 0.0)
    add_tasks(fake_studio, 3)
    run()
    models.promote(add_version(models, tmp_path / "made"))
    fake_backend.version = "v0001"
    moves: list[str] = []
    monkeypatch.setattr(
        Studio, "update_project", lambda studio, project, model_version: moves.append(model_version)
    )

    def roll_back() -> None:
        models.promote("v0000")
        fake_backend.version = "v0000"

    fake_studio.after_import = roll_back
    run()
    assert "v0001" not in moves


def test_another_colour_means_nothing(run: Callable[[], int], fake_studio: FakeStudio) -> None:
    add_tasks(fake_studio, 2)
    run()
    fake_studio.projects[1]["label_config"] = LABEL_CONFIG.replace("#d4380d", "#000000")
    assert run() == 0


def test_the_projects_version_waits_for_a_first_prediction(
    run: Callable[[], int], fake_studio: FakeStudio
) -> None:
    fake_studio.add_task(annotations=1)
    assert run() == 0
    assert fake_studio.projects[1]["model_version"] == ""


def test_the_projects_version_moves_only_when_all_are_stored(
    prelabeller: Prelabeller,
    studio: Studio,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    add_tasks(fake_studio, PORTION + 1)
    prelabeller.run(fetch(studio, 1))
    models.promote(add_version(models, tmp_path / "made"))
    fake_backend.version = "v0001"
    seen: list[Progress] = []
    prelabeller.run(fetch(studio, 1), should_stop=lambda: bool(seen), on_progress=seen.append)
    assert fake_studio.projects[1]["model_version"] == "v0000"
    prelabeller.run(fetch(studio, 1))
    assert fake_studio.projects[1]["model_version"] == "v0001"


def test_progress_can_be_read_by_others(
    prelabeller: Prelabeller, studio: Studio, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    add_tasks(fake_studio, PORTION * 2)
    seen: list[tuple[int, int]] = []

    def look(progress: Progress) -> None:
        written = read_progress(loop_settings.rounds_dir, 1)
        assert written == progress
        seen.append((progress.done, progress.total))

    prelabeller.run(fetch(studio, 1), on_progress=look)
    assert seen == [(PORTION, PORTION * 2), (PORTION * 2, PORTION * 2), (PORTION * 2, PORTION * 2)]
    final = read_progress(loop_settings.rounds_dir, 1)
    assert final is not None and final.eta_seconds is None


@pytest.mark.parametrize(
    "break_it, error",
    [
        (lambda studio, backend: setattr(backend, "results_missing", 1), BackendError),
        (lambda studio, backend: setattr(backend, "down", True), BackendError),
        (lambda studio, backend: setattr(studio, "down", True), StudioError),
    ],
)
def test_errors_name_the_url(
    break_it: Callable[[FakeStudio, FakeBackend], None],
    error: type[Exception],
    prelabeller: Prelabeller,
    studio: Studio,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
) -> None:
    add_tasks(fake_studio, 2)
    project = fetch(studio, 1)
    break_it(fake_studio, fake_backend)
    with pytest.raises(error, match=r"http://127\.0\.0\.1:\d+"):
        prelabeller.run(project)
    assert fake_studio.predictions == []


def test_a_project_read_before_an_earlier_run_is_not_pointed_at_it_again(
    prelabeller: Prelabeller, studio: Studio, fake_studio: FakeStudio, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker's list of projects is some seconds old."""
    caplog.set_level("INFO")
    add_tasks(fake_studio, 2)
    read_before = fetch(studio, 1)
    for _ in range(3):
        prelabeller.run(read_before)
    assert fake_studio.projects[1]["model_version"] == "v0000"
    assert caplog.text.count("model_version unset → v0000") == 1


def test_predictions_that_vanish_end_the_run(run: Callable[[], int], fake_studio: FakeStudio) -> None:
    add_tasks(fake_studio, 2)
    fake_studio.after_import = fake_studio.predictions.clear
    with pytest.raises(PredictionsLost, match="tasks 1 to 2 of project 1"):
        run()


def test_one_at_a_time(run: Callable[[], int], loop_settings: TrainerSettings) -> None:
    with (
        holding(loop_settings.rounds_dir / "predict-1.lock"),
        pytest.raises(Busy, match=r"predict-1\.lock is locked by process \d+"),
    ):
        run()


def test_a_champion_that_never_came_to_serve_before_the_next_is_not_waited_for(
    prelabeller: Prelabeller,
    studio: Studio,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    """The backend was away for the whole service of v0000, and serves v0001 when it is back."""
    tasks = add_tasks(fake_studio, 3)
    fake_backend.version = "v0001"
    prelabeller._backend_wait_s = 60.0
    threading.Timer(0.3, lambda: models.promote(add_version(models, tmp_path / "next"))).start()
    began = time.monotonic()
    assert prelabeller.run(fetch(studio, 1)) == 3
    assert time.monotonic() - began < 30.0
    assert [fake_studio.versions_of(task) for task in tasks] == [["v0001"]] * 3
