"""What a person sees of `labelloop`, and what exit status a script gets."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import shapes
from support.fake_backend import FakeBackend
from support.fake_learning import FakeLearning
from support.fake_studio import FakeStudio
from support.versions import add_version
from typer.testing import CliRunner, Result

from labelloop.files import write_text
from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer import cli, env, heartbeat, importer, watch
from trainer.env import TrainerSettings
from trainer.prelabel import Progress, progress_path
from trainer.projects import DEMO
from trainer.rounds import Rounds, State
from trainer.stages import Stages

pytestmark = pytest.mark.usefixtures("models")

Run = Callable[..., Result]


@pytest.fixture
def run(loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `labelloop …` in this process."""
    monkeypatch.setattr(watch, "POLL_S", 0.02)
    monkeypatch.setattr(watch, "COUNT_EVERY_S", 0.02)
    monkeypatch.setattr(importer, "SETTLED_S", 0.0)
    env.get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    env.get_settings.cache_clear()


@pytest.fixture
def rounds(loop_settings: TrainerSettings) -> Rounds:
    return Rounds(loop_settings.rounds_dir)


@pytest.fixture
def alive(loop_settings: TrainerSettings) -> None:
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000"}, {})


class RoundRunner:
    """Stands for the worker: runs the first round that is asked for, then predicts."""

    def __init__(
        self, rounds: Rounds, studio: Studio, fake: FakeStudio, models: ProjectModels, learning: FakeLearning
    ) -> None:
        self._rounds, self._studio, self._fake, self._models = rounds, studio, fake, models
        self._learning = learning
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "RoundRunner":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(20)

    def _work(self) -> None:
        while not self._rounds.open_rounds():
            time.sleep(0.01)
        time.sleep(0.1)
        from labelloop.registry import Registry

        stages = Stages(self._rounds, Registry(self._models.path.parent), self._studio, self._learning)
        stages.run(self._rounds.open_rounds()[0].id)
        version = self._models.champion()
        rows = [
            {"task": t, "model_version": version}
            for t, task in self._fake.tasks.items()
            if not task["total_annotations"]
        ]
        progress = Progress(1, str(version), len(rows), len(rows), None, "now")
        write_text(progress_path(self._rounds.root, 1), json.dumps(progress.__dict__))
        time.sleep(0.1)
        self._fake.predictions += rows
        if rows:  # Label Studio takes no version without a prediction
            self._fake.projects[1]["model_version"] = version


@pytest.fixture
def learning() -> FakeLearning:
    return FakeLearning()


@pytest.fixture
def worker(
    rounds: Rounds,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    learning: FakeLearning,
    alive: None,
) -> RoundRunner:
    fake_studio.add_task(annotations=1)
    fake_studio.add_task()
    return RoundRunner(rounds, studio, fake_studio, models, learning)


def test_retrain_shows_stages_verdict_and_pre_labels(
    run: Run, worker: RoundRunner, learning: FakeLearning
) -> None:
    learning.during_training = lambda: time.sleep(0.2)
    with worker:
        result = run("retrain")
    assert result.exit_code == 0
    assert "Round 1 of project 1 (project 1) requested." in result.output
    assert "2/3 training" in result.output
    assert "promoted v0001: mAP 0.500 → 0.600 on 1 hold-out image" in result.output
    assert "pre-labels: 1 of 1 images with v0001" in result.output


def test_with_every_image_labelled_there_are_no_pre_labels_to_wait_for(
    run: Run, worker: RoundRunner, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.follow_predictions, "__defaults__", (2.0,))
    fake_studio.projects[1]["model_version"] = "v0000"
    for task in fake_studio.tasks.values():
        task["total_annotations"] = 1
    with worker:
        result = run("retrain")
    assert result.exit_code == 0, result.output
    assert "promoted v0001" in result.output


def test_a_champion_that_stays_is_no_error(run: Run, worker: RoundRunner, learning: FakeLearning) -> None:
    learning.scores["candidate"] = 0.1
    with worker:
        result = run("retrain")
    assert result.exit_code == 0
    assert "kept v0000: mAP 0.500 → 0.100 on 1 hold-out image" in result.output


def test_a_failed_round_fails_with_reason_and_log(
    run: Run, worker: RoundRunner, learning: FakeLearning
) -> None:
    def fail() -> None:
        raise RuntimeError("no space left on device")

    learning.during_training = fail
    with worker:
        result = run("retrain")
    assert result.exit_code == 1
    assert "error: round 1 failed: no space left on device" in result.stderr
    assert "volumes/rounds/00001/log.txt" in result.stderr


def test_a_round_that_somebody_cancels_is_no_success(
    run: Run, rounds: Rounds, worker: RoundRunner, learning: FakeLearning
) -> None:
    def cancel() -> None:
        rounds.cancel(1)

    learning.during_training = cancel
    with worker:
        result = run("retrain")
    assert result.exit_code == 1
    assert "error: round 1: cancelled" in result.stderr


def test_retrain_joins_the_open_round(run: Run, rounds: Rounds, worker: RoundRunner) -> None:
    rounds.request(1, "button")
    with worker:
        result = run("retrain")
    assert result.exit_code == 0
    assert "Round 1 of project 1 (project 1) is open (requested); joining it." in result.output
    assert len(rounds.history(1)) == 1


def test_without_a_worker_nothing_is_queued(run: Run, rounds: Rounds) -> None:
    result = run("retrain")
    assert result.exit_code == 1
    assert "the trainer does not run" in result.stderr and "make logs" in result.stderr
    assert rounds.open_rounds() == []


def test_a_worker_that_dies_meanwhile_is_told(
    run: Run, rounds: Rounds, loop_settings: TrainerSettings, alive: None
) -> None:
    beat = heartbeat.read(loop_settings.rounds_dir)
    assert beat is not None
    threading.Timer(
        0.3,
        lambda: write_text(
            loop_settings.rounds_dir / "worker.json", json.dumps(replace(beat, at=beat.at - 100).__dict__)
        ),
    ).start()
    result = run("retrain")
    assert result.exit_code == 1
    assert "gave its last sign of life" in result.stderr


@pytest.mark.usefixtures("child_processes")
def test_ctrl_c_detaches_and_the_round_goes_on(
    loop_settings: TrainerSettings, rounds: Rounds, alive: None
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.cli", "retrain"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while "waiting for the worker" not in (line := process.stdout.readline()):
        assert line, "it ended before it waited"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Detached: round 1 goes on." in output
    assert rounds.open_round(1) is not None


def test_cancel_ends_a_waiting_round(run: Run, rounds: Rounds) -> None:
    rounds.request(1, "button")
    result = run("cancel")
    assert result.exit_code == 0
    assert "Round 1: cancelled before it began" in result.output
    assert "has no open round" in run("cancel").output


def test_status_of_a_well_appliance(
    run: Run, alive: None, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    fake_studio.add_task(annotations=1)
    fake_studio.add_task()
    (loop_settings.images_dir / "[b]broken.jpg").touch()
    index = importer.ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)
    index.scan()
    index.check(10.0)
    result = run("status")
    assert result.exit_code == 0
    for words in (
        "Project 1: project 1",
        "v0000, yolox_nano, not yet scored on a hold-out",
        "2, 1 labelled, 1 waiting to be labelled",
        "1 to be made",
        "none yet; `make retrain` starts one",
        "[b]broken.jpg: the file is empty",
    ):
        assert words in result.output


def test_status_names_labels_the_model_does_not_know(run: Run, alive: None, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace('"crate"', '"face"')
    output = run("status").output
    assert "the champion does not know face" in output
    assert "no label takes the champion's crate" in output


def test_status_tells_of_scheduled_backups_that_fail(
    run: Run, alive: None, loop_settings: TrainerSettings
) -> None:
    said = loop_settings.volumes_dir / "backups" / "status" / "schedule.json"
    well = {"every_hours": 24, "last": None, "error": None, "since": None}
    write_text(said, json.dumps(well))
    assert run("status").exit_code == 0
    write_text(said, json.dumps({**well, "error": "the disk is full", "since": "2026-01-01T00:00:00Z"}))
    result = run("status")
    assert result.exit_code == 1
    assert "scheduled backups fail since 2026-01-01T00:00:00Z: the disk is full" in result.output


@pytest.mark.parametrize("broken", ["studio", "backend", "worker", "version"])
def test_status_fails_when_something_is_wrong(
    broken: str,
    run: Run,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    loop_settings: TrainerSettings,
    request: pytest.FixtureRequest,
) -> None:
    if broken != "worker":
        request.getfixturevalue("alive")
    fake_studio.down, fake_backend.down = broken == "studio", broken == "backend"
    if broken == "version":
        fake_backend.version = "v0007"
    result = run("status")
    assert result.exit_code == 1
    expected = {
        "studio": "503",
        "backend": "down for a test",
        "worker": "the worker has not started yet",
        "version": "the backend serves v0007, the champion is v0000",
    }
    assert expected[broken] in result.output


def test_models_lists_every_version(run: Run, models: ProjectModels, tmp_path: Path) -> None:
    add_version(models, tmp_path / "made", round_id=4)
    result = run("models")
    assert result.exit_code == 0
    rows = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│ v0" in line}
    assert rows.keys() == {"v0000", "v0001"}
    assert "yes" in rows["v0000"] and "yes" not in rows["v0001"]


def test_rollback_moves_the_pointer(
    run: Run, models: ProjectModels, tmp_path: Path, fake_backend: FakeBackend
) -> None:
    models.promote(add_version(models, tmp_path / "made"))
    result = run("rollback", "v0000")
    assert result.exit_code == 0
    assert "v0001 → v0000" in result.output
    assert models.champion() == "v0000"
    assert "in service already" in run("rollback", "v0000").output


def test_rollback_to_nothing_lists_what_there_is(run: Run, models: ProjectModels) -> None:
    result = run("rollback", "v0009")
    assert result.exit_code == 1
    assert "v0009" in result.stderr and "v0000" in result.stderr
    assert models.champion() == "v0000"


def test_predict_fills_in_what_is_missing(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.add_task()
    fake_studio.add_task()
    result = run("predict")
    assert result.exit_code == 0
    assert "2 images pre-labelled." in result.output
    assert "Every unlabelled image has the champion's boxes." in run("predict").output


def test_import_names_what_cannot_be_used(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    (loop_settings.images_dir / "notes.txt").write_text("no image")
    shapes.picture(1).image.save(loop_settings.images_dir / "a.png")
    fake_studio.files.append("a.png")
    result = run("import")
    assert result.exit_code == 0
    assert "1 new image." in result.output
    assert "notes.txt: .txt is not imported" in result.output


@pytest.mark.parametrize(
    "arguments", [("retrain",), ("cancel",), ("models",), ("rollback", "v0000"), ("predict",)]
)
def test_with_several_projects_one_has_to_be_chosen(
    arguments: tuple[str, ...], run: Run, fake_studio: FakeStudio, alive: None
) -> None:
    fake_studio.add_project(2)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "choose a project with PROJECT=<id>; there are: 1 (project 1), 2 (project 2)" in result.stderr


def test_project_comes_from_the_environment(
    run: Run, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_studio.add_project(2)
    monkeypatch.setenv("PROJECT", "1")
    env.get_settings.cache_clear()
    assert run("models").exit_code == 0
    assert run("models", "--project", "3").exit_code == 1


def test_label_studio_down_is_one_line(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.down = True
    result = run("models")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: GET {fake_studio.url}/api/projects: 503")
    assert "Traceback" not in result.stderr


def test_a_bad_setting_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_EVERY", "often")
    result = run("status")
    assert result.exit_code == 1
    assert "RETRAIN_EVERY='often'" in result.stderr


@pytest.mark.usefixtures("child_processes")
def test_the_cli_does_without_torch() -> None:
    modules = "trainer.cli, trainer.status, trainer.web, trainer.worker"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_states_have_a_name_to_show() -> None:
    assert set(watch.STAGES) == {State.REQUESTED, State.SNAPSHOTTING, State.TRAINING, State.EVALUATING}


def test_a_report_says_where_it_is(run: Run, loop_settings: TrainerSettings) -> None:
    result = run("report", "--file", "june.html")
    assert result.exit_code == 0 and "Report in volumes/rounds/reports/june.html" in result.output
    assert "project 1" in (loop_settings.rounds_dir / "reports" / "june.html").read_text()
    refused = run("report", "--file", "../june.html")
    assert refused.exit_code == 1 and "needed one such as june.html" in refused.stderr


def test_status_names_the_projects_that_are_left_alone(
    run: Run, alive: None, fake_studio: FakeStudio
) -> None:
    fake_studio.add_project(2, '<View><Text name="t" value="$t"/></View>')
    fake_studio.add_project(3)
    said = run("status").output
    assert "Project 1" in said and "Project 3" in said and "Project 2" not in said
    assert "Left alone, for no boxes are drawn in them: 2 (project 2)" in said


def test_with_several_projects_a_command_says_how_to_choose(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(2)
    result = run("models")
    assert result.exit_code == 1
    assert "choose a project with PROJECT=<id>; there are: 1 (project 1), 2 (project 2)" in result.output
    assert run("models", "--project", "1").exit_code == 0
    fake_studio.projects[2]["description"] = DEMO
    assert run("models").exit_code == 0, "the demo leaves the other commands as they were"
