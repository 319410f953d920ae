"""Rounds and versions on the command line: what a person sees, and what exit status a script gets."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.cli import Run
from support.fake_backend import FakeBackend
from support.fake_learning import FakeLearning
from support.fake_studio import FakeStudio, add_labelled
from support.made_scores import History, Judge, snapshot_of
from support.stack import wait_for
from support.versions import add_version

from labelloop.files import write_text
from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.judging.scoring import score_all
from trainer.rounds import heartbeat
from trainer.rounds.progress import Progress, write_progress
from trainer.rounds.table import Rounds, State
from trainer.terminal import watch
from trainer.terminal.display import Display
from trainer.training.process import TrainingFailed
from trainer.worker.stages import Stages

pytestmark = pytest.mark.usefixtures("models")

SHOWN_WITHIN_S = 60.0


class RoundRunner:
    """Stands for the worker: runs the first round that is asked for, then predicts. It waits for the command
    to have shown what it is about to leave behind. shown: the titles that the command has shown so far.
    """

    def __init__(
        self,
        rounds: Rounds,
        studio: Studio,
        fake: FakeStudio,
        models: ProjectModels,
        learning: FakeLearning,
        shown: list[str],
    ) -> None:
        self._rounds, self._studio, self._fake, self._models = rounds, studio, fake, models
        self._learning, self._shown = learning, shown
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "RoundRunner":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(SHOWN_WITHIN_S)

    def until_shown(self, title: str) -> None:
        wait_for(f"{title!r} to be shown", lambda: title in self._shown, SHOWN_WITHIN_S, every=0.01)

    def _work(self) -> None:
        from labelloop.registry import Registry

        self.until_shown(watch.STAGES[State.REQUESTED])
        before = self._models.champion()
        stages = Stages(self._rounds, Registry(self._models.path.parent), self._studio, self._learning)
        stages.run(self._rounds.open_rounds()[0].id)
        version = self._models.champion()
        rows = [
            {"task": t, "model_version": version}
            for t, task in self._fake.tasks.items()
            if not task["total_annotations"]
        ]
        progress = Progress(1, str(version), len(rows), len(rows), None, "now")
        write_progress(self._rounds.root, progress)
        if rows and version != before:
            self.until_shown("pre-labels")
        self._fake.predictions += rows
        if rows:  # Label Studio takes no version without a prediction
            self._fake.projects[1]["model_version"] = version


@pytest.fixture
def learning() -> FakeLearning:
    return FakeLearning()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    titles: list[str] = []
    update = Display.update

    def noted(self: Display, title: str, *given: Any, **named: Any) -> None:
        update(self, title, *given, **named)
        titles.append(title)

    monkeypatch.setattr(Display, "update", noted)
    return titles


@pytest.fixture
def worker(
    rounds: Rounds,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    learning: FakeLearning,
    alive: None,
    shown: list[str],
) -> RoundRunner:
    add_labelled(fake_studio, 25)
    fake_studio.add_task()
    return RoundRunner(rounds, studio, fake_studio, models, learning, shown)


def test_retrain_shows_stages_verdict_and_pre_labels(
    run: Run, worker: RoundRunner, learning: FakeLearning
) -> None:
    learning.during_training = lambda: worker.until_shown(watch.STAGES[State.TRAINING])
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
        raise TrainingFailed("no space left on device")

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


@pytest.mark.parametrize(
    "labelled, said", [(0, "Label 5 more images first. None is"), (4, "Label 1 more image first. 4 are")]
)
def test_a_round_that_cannot_work_is_refused_with_what_to_do_first(
    labelled: int, said: str, run: Run, rounds: Rounds, fake_studio: FakeStudio, alive: None
) -> None:
    add_labelled(fake_studio, labelled)
    result = run("retrain")
    assert result.exit_code == 1 and f"error: {said}" in result.stderr
    assert rounds.history(1) == []
    assert f"retrain    not now. {said}" in run("status").output


def test_a_project_without_labels_is_refused_with_the_line_to_change(
    run: Run, rounds: Rounds, fake_studio: FakeStudio, alive: None
) -> None:
    config = '<View><Image name="i" value="$i"/><RectangleLabels name="l" toName="i"/></View>'
    fake_studio.add_project(2, config)
    result = run("retrain", "--project", "2")
    assert result.exit_code == 1
    assert "project 2 (project 2) is left alone: the label config, line 1: " in result.stderr


def test_a_worker_that_dies_meanwhile_is_told(
    run: Run, rounds: Rounds, loop_settings: TrainerSettings, fake_studio: FakeStudio, alive: None
) -> None:
    add_labelled(fake_studio, 25)
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
    loop_settings: TrainerSettings, rounds: Rounds, fake_studio: FakeStudio, alive: None
) -> None:
    add_labelled(fake_studio, 25)
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.cli", "retrain"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # A shell's background job, which the tests may run in, does not hear Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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


def test_models_lists_every_version(run: Run, models: ProjectModels, tmp_path: Path) -> None:
    add_version(models, tmp_path / "made", round_id=4)
    result = run("models")
    assert result.exit_code == 0
    rows = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│ v0" in line}
    assert rows.keys() == {"v0000", "v0001"}
    assert "yes" in rows["v0000"] and "yes" not in rows["v0001"]


def test_models_has_the_scores_of_one_hold_out_in_a_column(
    run: Run, alive: None, models: ProjectModels, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    history = History(models, rounds)
    history.round(
        snapshot_of(range(1, 21), range(100, 105)), {"ball": 4, "crate": 4}, {"ball": 1, "crate": 1}
    )
    history.round(
        snapshot_of(range(1, 41), range(100, 110)), {"ball": 6, "crate": 6}, {"ball": 5, "crate": 5}
    )

    def said(command: str) -> str:
        return " ".join(run(command).output.replace("│", " ").split())

    before = said("models")
    assert "20 images not yet mAP 0.208 → 0.802 on 5 hold-out images" in before
    assert "that of round 2): 0 of 3 versions; 3 follow when the trainer is idle." in before
    assert "scores scored on today's hold-out (that of round 2): 0 of 3 versions" in said("status")
    score_all(models, rounds, 1, Judge({"v0000": {"ball": 1}}))
    after = said("models")
    assert "v0001" in after and "0.505 (0.000 to 1.000) mAP 0.208 → 0.802 on 5 hold-out images" in after
    assert "40 images 0.604 (0.000 to 1.000) mAP 0.505 → 0.604 on 10 hold-out images" in after
    assert "mAP today: scored on today's hold-out (10 images, that of round 2): 3 of 3 versions." in after
    assert "v0002, yolox_nano, mAP 0.604 on today's hold-out; at its promotion 0.505 → 0.604" in said(
        "status"
    )


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("CET-1CEST,M3.5.0,M10.5.0/3", "2026-11-22 22:15 CET"), ("UTC0", "2026-11-22 21:15 UTC")],
)
def test_models_names_the_zone_of_its_times(
    run: Run, models: ProjectModels, clock: Callable[[str], None], zone: str, shown: str
) -> None:
    made = datetime(2026, 11, 22, 21, 15, 30, tzinfo=UTC)
    card = models.card("v0000").model_copy(update={"created_at": made})
    (models.folder("v0000") / "card.json").write_text(card.model_dump_json())
    clock(zone)
    assert shown in run("models").output


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets this process's time zone."""

    def set_to(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


def test_a_round_among_those_of_other_projects_is_counted(
    run: Run, rounds: Rounds, worker: RoundRunner, learning: FakeLearning
) -> None:
    for project in (1, 2):
        rounds.cancel(rounds.request(project, "a test")[0].id)
    learning.scores["candidate"] = 0.1
    with worker:
        output = run("retrain").output
    assert "Round 3 of project 1 (project 1), its 2nd, requested." in output
    assert "none open; 3 (2nd of this project): kept v0000: " in run("status").output


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


def test_states_have_a_name_to_show() -> None:
    assert set(watch.STAGES) == {State.REQUESTED, State.SNAPSHOTTING, State.TRAINING, State.EVALUATING}
