"""What the trainer finds wrong, and the way out that it names."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.made_speeds import write_speeds
from support.versions import add_version
from typer.testing import CliRunner

from labelloop.findings import Finding
from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer import cli, env
from trainer.env import TrainerSettings
from trainer.health import doctor
from trainer.health.doctor import examine
from trainer.peers.backend import Backend
from trainer.peers.projects import SIMULATED
from trainer.rounds import heartbeat
from trainer.rounds.table import Rounds, State
from trainer.worker.image_index import Problem

pytestmark = pytest.mark.usefixtures("models", "connected")

CONFIGS = Path(__file__).parents[4] / "configs"
BACKEND = "ML backend, project 1"


@pytest.fixture
def connected(loop_settings: TrainerSettings, fake_studio: FakeStudio) -> dict[str, Any]:
    """Label Studio's own row on the backend, and a worker that lives."""
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000"}, {})
    row = {
        "project": 1,
        "url": loop_settings.mlbackend_url,
        "state": "CO",
        "readable_state": "Connected",
        "error_message": None,
    }
    fake_studio.backends.append(row)
    return row


@pytest.fixture
def look(loop_settings: TrainerSettings, studio: Studio, backend: Backend) -> Any:
    def examined() -> dict[str, Finding]:
        return {finding.name: finding for finding in examine(loop_settings, studio, backend)}

    return examined


def close_a_round(settings: TrainerSettings, state: State, **columns: object) -> Rounds:
    rounds = Rounds(settings.rounds_dir)
    round_, _ = rounds.request(1, "a test")
    rounds.move(round_.id, state, **columns)
    return rounds


def test_a_good_appliance_has_no_findings_but_ok(look: Any) -> None:
    found = look()
    assert {finding.level for finding in found.values()} == {"ok"}, found
    assert found[BACKEND].text.startswith("Connected at http://")
    assert "yolox_nano" in found["weights, project 1"].text
    assert "v0000 in service" in found["weights, project 1"].text


def test_how_long_rounds_take_here_is_told_once_it_was_measured(
    look: Any, loop_settings: TrainerSettings
) -> None:
    assert "speed, project 1" not in look()
    write_speeds(loop_settings, CONFIGS, {"yolox_nano": 0.3, "yolox_tiny": 4.0})
    found = look()["speed, project 1"]
    assert found.level == "ok" and found.text == (
        "a round on 40 labelled images: yolox_nano takes about 1:41 min; yolox_tiny would take 20:11 min, "
        "more than ROUND_MINUTES=5"
    )


def test_every_finding_that_is_not_ok_names_a_fix_and_a_command(
    look: Any, fake_studio: FakeStudio, fake_backend: FakeBackend, loop_settings: TrainerSettings
) -> None:
    fake_backend.down = True
    fake_studio.backends.clear()
    close_a_round(loop_settings, State.FAILED, error="no room")
    bad = [finding for finding in look().values() if finding.level != "ok"]
    assert len(bad) >= 3
    assert all(finding.fix and finding.command for finding in bad)


def test_label_studio_down_is_a_finding(look: Any, fake_studio: FakeStudio) -> None:
    fake_studio.down = True
    found = look()["labelstudio to the trainer"]
    assert found.level == "problem" and "503" in found.text and found.command == "make up"


def test_the_backend_down_is_a_finding(look: Any, fake_backend: FakeBackend) -> None:
    fake_backend.down = True
    found = look()["mlbackend to the trainer"]
    assert found.level == "problem" and "down for a test" in found.text


def test_a_connection_that_label_studio_lost(look: Any, connected: dict[str, Any]) -> None:
    connected.update(state="ER", readable_state="Error", error_message="401: wrong password")
    found = look()[BACKEND]
    assert found.level == "problem" and found.command == "make up"
    assert "Error" in found.text and "401: wrong password" in found.text


def test_no_connection_and_another_one(look: Any, connected: dict[str, Any], fake_studio: FakeStudio) -> None:
    connected["url"] = "http://elsewhere:9090"
    found = look()[BACKEND]
    assert found.level == "warning" and "http://elsewhere:9090" in found.text
    fake_studio.backends.clear()
    found = look()[BACKEND]
    assert found.level == "warning" and "none is connected" in found.text


def test_a_simulated_project_is_looked_after_by_its_simulation(look: Any, fake_studio: FakeStudio) -> None:
    """It has no connection, and often no model yet or labels that no model knows."""
    fake_studio.add_project(2)["description"] = SIMULATED
    told = {name: finding for name, finding in look().items() if finding.name.endswith("project 2")}
    assert [finding.level for finding in told.values()] == ["ok"]
    assert "simulate" in told["project 2"].text


def test_weights_that_could_not_be_had(
    look: Any, models: ProjectModels, loop_settings: TrainerSettings
) -> None:
    card = models.path / "v0000" / "card.json"
    told = json.loads(card.read_text()) | {"start_weights": "none for detection"}
    card.write_text(json.dumps(told))
    (loop_settings.cache_dir / "weights").mkdir(parents=True)
    (loop_settings.cache_dir / "weights" / "other.pth").write_bytes(b"")
    found = look()["weights, project 1"]
    assert found.level == "warning" and "none for detection" in found.text and "other.pth" in found.text


def test_labels_that_the_model_does_not_know(
    look: Any, fake_studio: FakeStudio, models: ProjectModels, tmp_path: Path
) -> None:
    config = '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i"><Label value="{}"/>'
    fake_studio.projects[1]["label_config"] = config.format("zebra") + "</RectangleLabels></View>"
    found = look()["labels, project 1"]
    assert found.level == "warning" and "zebra" in found.text and found.command == "make retrain"
    assert "predicted_values" in found.fix
    models.promote(add_version(models, tmp_path / "trained", round_id=1))
    assert "predicted_values" not in look()["labels, project 1"].fix


def test_a_failed_round_tells_its_error_and_log(look: Any, loop_settings: TrainerSettings) -> None:
    close_a_round(loop_settings, State.FAILED, error="no room")
    found = look()["round, project 1"]
    assert found.level == "warning" and "1 failed: no room" in found.text and "00001/log.txt" in found.fix


def test_a_round_that_runs_is_ok(look: Any, loop_settings: TrainerSettings) -> None:
    Rounds(loop_settings.rounds_dir).request(1, "a test")
    found = look()["round, project 1"]
    assert found.level == "ok" and "requested" in found.text


def test_a_round_of_the_future(loop_settings: TrainerSettings, studio: Studio, backend: Backend) -> None:
    rounds = close_a_round(loop_settings, State.CANCELLED, verdict="cancelled")
    with sqlite3.connect(rounds.path) as table:
        table.execute("UPDATE rounds SET requested_at = '2999-01-01T00:00:00.000+00:00'")
    found = [finding for finding in examine(loop_settings, studio, backend) if "future" in finding.text]
    assert [finding.level for finding in found] == ["warning"]


def test_images_that_cannot_be_read(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [Problem(f"{number}.jpg", "cut off") for number in range(7)]
    monkeypatch.setattr("trainer.health.status.ImageIndex.problems", lambda index: broken)
    found = look()["images"]
    assert found.level == "warning"
    assert "7 files" in found.text and "0.jpg (cut off)" in found.text and "and 2 more" in found.text


def test_open_problems_of_the_worker(look: Any, loop_settings: TrainerSettings) -> None:
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000"}, {"import": "the storage is gone"})
    found = look()["open problem"]
    assert found.level == "problem" and "the storage is gone" in found.text


def test_a_check_that_fails_itself_is_a_finding(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(project: object) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(doctor, "_labels", broken)
    found = look()
    assert found["labels, project 1"].level == "problem"
    assert "ZeroDivisionError: oh" in found["labels, project 1"].text
    assert found["round, project 1"].level == "ok", "the others are looked at all the same"


def test_the_command_prints_json() -> None:
    env.get_settings.cache_clear()
    try:
        result = CliRunner().invoke(cli.app, ["doctor"], catch_exceptions=False)
    finally:
        env.get_settings.cache_clear()
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert {"level", "name", "text", "fix", "command"} == set(rows[0])
