"""The worker: starting models, the round that runs, and services that come and go."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import shapes
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.locks import holding
from labelloop.registry import ProjectModels, Registry
from trainer.env import TrainerSettings
from trainer.health import health
from trainer.peers.projects import NO_PROJECT, SIMULATED
from trainer.rounds import heartbeat
from trainer.rounds.table import State
from trainer.system.children import RETRY
from trainer.worker import image_index
from trainer.worker.chores import FIRST_PAUSE_S
from trainer.worker.worker import CHECK_PAUSE_S, LOOK_S, SOON_S, STARTING_S


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_project_gets_its_starting_model_before_anybody_asks(bench: WorkerBench, tmp_path: Path) -> None:
    bench.worker.look_around()
    bench.worker.look_around()
    assert [child.arguments for child in bench.children] == [["trainer.training.starting", "1"]]
    bench.models.promote(add_version(bench.models, tmp_path / "made"))
    bench.children[0].exit = 0
    bench.worker.look_around()
    assert len(bench.children) == 1


def test_the_first_project_and_its_model_are_seen_within_a_second(
    bench: WorkerBench, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    """Label Studio starts beside the worker, which sees it come up, however long that takes."""
    look = bench.worker.look
    fake_studio.down = True
    for _ in range(5):
        look.run_if_due()
        assert 0 < look.due_in() <= FIRST_PAUSE_S
        look._next = 0.0
    projects, fake_studio.projects = fake_studio.projects, {}
    fake_studio.down = False
    for projects_there in ({}, projects):
        fake_studio.projects = projects_there
        look.run_if_due()
        assert 0 < look.due_in() <= SOON_S
        look.poke()
    assert [child.arguments for child in bench.children] == [["trainer.training.starting", "1"]]
    bench.models.promote(add_version(bench.models, tmp_path / "made"))
    bench.children[0].exit = 0
    look.run_if_due()
    assert SOON_S < look.due_in() <= LOOK_S, "it is in service, and nothing else is awaited"


def test_who_has_no_project_for_long_is_not_asked_every_second(
    bench: WorkerBench, fake_studio: FakeStudio
) -> None:
    fake_studio.projects.clear()
    bench.worker._started -= STARTING_S
    bench.worker.look.run_if_due()
    assert bench.worker.look.due_in() > SOON_S


def test_a_starting_model_that_fails_is_tried_again_and_told(bench: WorkerBench) -> None:
    bench.worker.look.run_if_due()
    bench.children[0].exit = 1
    bench.worker.look.poke()
    bench.worker.look.run_if_due()
    bench.worker.beat()
    beat = heartbeat.read(bench.settings.rounds_dir)
    assert beat is not None
    assert health.worker_problems(beat) == [], "it concerns the project alone"
    [told] = health.project_problems(beat, 1)
    assert "the starting model could not be written: its last words" in told
    assert health.project_problems(beat, 2) == []
    assert len(bench.children) == 2


def test_projects_without_boxes_are_left_alone(bench: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.projects.clear()
    fake_studio.add_project(
        label_config='<View><Text name="t" value="$t"/><Choices name="c" toName="t"/></View>'
    )
    bench.worker.look_around()
    assert bench.children == []


def test_a_round_whose_project_was_deleted_is_cancelled_before_it_begins(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    round_, _ = bench.rounds.request(2, "test")
    bench.worker.look_around()
    round_ = bench.rounds.get(round_.id)
    assert (round_.state, round_.verdict) == (State.CANCELLED, NO_PROJECT)


def test_a_running_round_whose_project_is_deleted_is_cancelled_with_the_reason(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    child = bench.begin_round()
    bench.rounds.move(1, State.SNAPSHOTTING)
    del fake_studio.projects[1]
    bench.worker.look_around()
    assert bench.rounds.cancel_requested(1)
    bench.end(child, RETRY)
    round_ = bench.rounds.get(1)
    assert (round_.state, round_.verdict) == (State.CANCELLED, NO_PROJECT)
    assert models.champion() == "v0000", "its versions stay"


def test_a_project_made_by_hand_gets_the_backend_once(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    url = f"{bench.settings.mlbackend_url}/webhook"
    fake_studio.webhooks = [{"id": 5, "url": url, "headers": {}}, {"id": 6, "url": "http://x", "headers": {}}]
    bench.worker.look_around()
    bench.worker.look_around()
    [connected] = fake_studio.backends
    assert (connected["project"], connected["url"]) == (1, bench.settings.mlbackend_url)
    assert (connected["auth_method"], connected["basic_auth_pass"]) == ("BASIC_AUTH", "backend")
    assert [webhook["id"] for webhook in fake_studio.webhooks] == [6]
    fake_studio.backends.clear()
    bench.worker.look_around()
    assert not fake_studio.backends, "who removes the connection is not overruled"


@pytest.mark.parametrize("why", ["has one", "simulated", "ADOPT_PROJECTS=false"])
def test_no_project_gets_the_backend_that(
    why: str, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    if why == "has one":
        fake_studio.backends.append({"project": 1, "url": "http://theirs", "title": "theirs"})
    elif why == "simulated":
        fake_studio.projects[1]["description"] = SIMULATED
    else:
        bench.settings = bench.settings.model_copy(update={"adopt_projects": False})
        bench.worker = bench.new_worker()
    before = list(fake_studio.backends)
    bench.worker.look_around()
    assert fake_studio.backends == before


def test_a_requested_round_is_begun_once(bench: WorkerBench) -> None:
    child = bench.begin_round()
    bench.worker.runner.tend()
    assert [c.arguments for c in bench.children] == [["trainer.worker.stages", "1"]]
    assert child.log_path == bench.settings.rounds_dir / "00001" / "log.txt"


def test_rounds_of_two_projects_run_one_after_the_other(bench: WorkerBench) -> None:
    child = bench.begin_round()
    bench.rounds.request(2, "test")
    bench.worker.runner.tend()
    assert len(bench.children) == 1
    bench.rounds.move(1, State.FAILED, error="for a test")
    bench.end(child, 0)
    bench.worker.runner.tend()
    assert bench.children[-1].arguments == ["trainer.worker.stages", "2"]


def test_a_round_that_was_open_before_is_taken_up(bench: WorkerBench) -> None:
    bench.begin_round()
    bench.rounds.move(1, State.SNAPSHOTTING)
    bench.worker = bench.new_worker()
    bench.worker.runner.tend()
    assert bench.children[-1].arguments == ["trainer.worker.stages", "1"]


def test_a_process_that_dies_is_given_one_more_chance(bench: WorkerBench) -> None:
    child = bench.begin_round()
    bench.end(child, -9)
    bench.worker.runner.tend()
    assert len(bench.children) == 2
    bench.end(bench.children[1], -9)
    failed = bench.rounds.get(1)
    assert failed.state == State.FAILED
    assert failed.error == (
        "its process was ended 2 times, by the system, mostly because memory ran out (SIGKILL); its last "
        "words are in volumes/rounds/00001/log.txt"
    )
    bench.worker.runner.tend()
    assert len(bench.children) == 2


def test_a_round_without_label_studio_is_tried_again_later(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr("trainer.worker.runner.time", SimpleNamespace(monotonic=lambda: now[0]))
    child = bench.begin_round()
    bench.end(child, RETRY)
    assert "round 1: its last words; again in 2 s" in caplog.text
    now[0] += 1.9
    bench.worker.runner.tend()
    assert len(bench.children) == 1
    now[0] += 0.2
    bench.worker.runner.tend()
    assert len(bench.children) == 2
    assert bench.rounds.get(1).state == State.REQUESTED


def test_a_round_that_does_not_stop_when_cancelled_is_stopped(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = bench.begin_round()
    bench.rounds.move(1, State.SNAPSHOTTING)
    bench.rounds.cancel(1)
    bench.worker.runner.tend()
    assert not child.stopped
    monkeypatch.setattr("trainer.worker.runner.CANCEL_PATIENCE_S", -1.0)
    bench.worker.runner.tend()
    assert child.stopped
    bench.worker.runner.tend()
    assert bench.rounds.get(1).state == State.CANCELLED


def test_stopping_leaves_the_round_open(bench: WorkerBench) -> None:
    child = bench.begin_round()
    bench.worker.stop()
    bench.worker.run()
    assert child.stopped
    assert bench.rounds.open_round(1) is not None


def test_it_imports_and_pre_labels_while_a_round_trains(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    shapes.picture(1).image.save(bench.settings.images_dir / "a.png")
    fake_studio.files.append("a.png")
    bench.rounds.request(1, "test")
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        wait_until(lambda: bool(bench.children))
        wait_until(lambda: bool(fake_studio.predictions))
        assert bench.children[0].exit is None
        beat = heartbeat.read(bench.settings.rounds_dir)
        assert beat is not None and beat.fresh and beat.projects == {"1": "v0000"} and beat.errors == {}
    finally:
        bench.worker.stop()
        thread.join(10)
    assert not thread.is_alive()


def test_label_studio_down_is_logged_and_got_over(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake_studio.down = True
    bench.worker.look.run_if_due()
    assert f"projects: GET {fake_studio.url}/api/projects: 503" in caplog.text
    bench.worker.beat()
    beat = heartbeat.read(bench.settings.rounds_dir)
    assert beat is not None and beat.projects is None and "503" in beat.errors["projects"]
    fake_studio.down = False
    bench.worker.look_around()
    bench.worker.beat()
    beat = heartbeat.read(bench.settings.rounds_dir)
    assert beat is not None and beat.projects == {"1": "v0000"}


def test_the_backend_down_is_no_reason_to_stop(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    bench.worker._prelabeller._backend_wait_s = 0.0
    fake_studio.add_task()
    fake_backend.down = True
    bench.worker.look_around()
    bench.worker.predicting.run_if_due()
    assert fake_backend.url in (bench.worker.predicting.error or "")
    fake_backend.down = False
    bench.worker.predict()
    assert len(fake_studio.predictions) == 1


@pytest.fixture
def two_projects(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, tmp_path: Path
) -> WorkerBench:
    """Known to the worker; then Label Studio answers nothing about the first any more."""
    fake_studio.add_project(2)
    second = Registry(bench.settings.models_dir).project(2)
    for _ in range(3):
        second.promote(add_version(second, tmp_path / "made"))
    second.promote("v0000")
    bench.settings = bench.settings.model_copy(update={"keep_versions": 1})
    bench.worker = bench.new_worker()
    bench.worker.look_around()
    fake_studio.broken = {1}
    return bench


def test_one_projects_failure_keeps_no_other_from_its_boxes(
    two_projects: WorkerBench, fake_studio: FakeStudio
) -> None:
    task = fake_studio.add_task(2)
    two_projects.worker.predicting.run_if_due()
    assert two_projects.worker.predicting.error is None, "it concerns project 1 alone"
    assert "500" in two_projects.worker.predicting.project_errors[1]
    assert fake_studio.versions_of(task) == ["v0000"]


def test_one_projects_failure_lets_no_other_grow(two_projects: WorkerBench) -> None:
    two_projects.worker.retaining.run_if_due()
    assert "500" in two_projects.worker.retaining.project_errors[1]
    assert Registry(two_projects.settings.models_dir).project(2).removed() == ["v0001"]


def test_files_are_looked_at_whatever_the_import_does(
    two_projects: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    settings = two_projects.settings
    (settings.images_dir / "damaged.png").write_text("no image")
    two_projects.worker.importing.run_if_due()
    assert "500" in two_projects.worker.importing.project_errors[1]
    found = image_index.ImageIndex(settings.rounds_dir, settings.images_dir).problems()
    assert [problem.path for problem in found] == ["damaged.png"]


@pytest.mark.usefixtures("child_processes")
def test_a_second_worker_on_the_volume_is_refused(
    loop_settings: TrainerSettings, models: ProjectModels
) -> None:
    program = "import trainer.worker.__main__ as w; w.PREVIOUS_WORKER_S = 0.0; raise SystemExit(w.main())"
    with holding(loop_settings.rounds_dir / "worker.lock"):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "another worker runs on this volume" in done.stderr
    assert "LABELLOOP_HOME" in done.stderr


@pytest.mark.usefixtures("child_processes")
def test_a_missing_secret_is_named(loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_TOKEN")
    done = subprocess.run(
        [sys.executable, "-m", "trainer.worker"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "API_TOKEN is not set" in done.stderr


def test_a_command_that_is_at_it_already_is_no_trouble_of_the_workers(
    bench: WorkerBench, models: ProjectModels, caplog: pytest.LogCaptureFixture
) -> None:
    """`make import` and `make predict` hold these locks; a warning would make `make status` unwell."""
    bench.worker.look_around()
    rounds = bench.settings.rounds_dir
    with holding(rounds / "import.lock"), holding(rounds / "predict-1.lock"):
        bench.worker.importing.run_if_due()
        bench.worker.predicting.run_if_due()
    assert (bench.worker.importing.error, bench.worker.predicting.error) == (None, None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert bench.worker.importing.due_in() <= CHECK_PAUSE_S


def test_old_versions_go_but_not_those_of_a_simulation(
    bench: WorkerBench, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    fake_studio.add_project(2)["description"] = SIMULATED
    bench.settings = bench.settings.model_copy(update={"keep_versions": 1})
    worker = bench.new_worker()
    simulated = Registry(bench.settings.models_dir).project(2)
    for models in (bench.models, simulated):
        for _ in range(3):
            models.promote(add_version(models, tmp_path / "made"))
    assert worker.retain() is not None, "before it knows of any project it asks again soon"
    worker.look_around()
    assert worker.retain() is None
    assert bench.models.versions() == ["v0000", "v0002"]
    assert simulated.versions() == ["v0000", "v0001", "v0002"]
