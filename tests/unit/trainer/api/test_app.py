"""The HTTP API: who may ask, for what, and a health check that tells the truth."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from support.fake_studio import FakeStudio, add_labelled
from support.ports import free_port
from support.versions import add_version

from labelloop.files import write_text
from labelloop.registry import ProjectModels
from trainer import env
from trainer.api.app import create_app
from trainer.dashboard.app import create_app as create_dashboard
from trainer.dashboard.loop import WatchedLoop
from trainer.env import TrainerSettings
from trainer.health import probe
from trainer.rounds import heartbeat
from trainer.rounds.heartbeat import Heartbeat
from trainer.rounds.table import Rounds, State

ME = ("mlbackend", "trainer")


@pytest.fixture
def client(loop_settings: TrainerSettings, models: ProjectModels, fake_studio: FakeStudio) -> TestClient:
    """Project 1 has labels enough for a round."""
    add_labelled(fake_studio, 25)
    return TestClient(create_app(loop_settings, loop_settings.secret("trainer_password")))


def test_a_round_is_requested_then_joined(client: TestClient) -> None:
    first = client.post("/projects/1/rounds", json={"requested_by": "button"}, auth=ME)
    second = client.post("/projects/1/rounds", json={"requested_by": "button"}, auth=ME)
    assert first.status_code == second.status_code == 201
    assert first.json() == {"round": 1, "state": "requested", "joined": False}
    assert second.json() == {"round": 1, "state": "requested", "joined": True}


def test_rounds_can_be_looked_at_and_cancelled(client: TestClient) -> None:
    client.post("/projects/1/rounds", json={}, auth=ME)
    assert [row["id"] for row in client.get("/projects/1/rounds", auth=ME).json()] == [1]
    assert client.get("/rounds/1", auth=ME).json()["requested_by"] == "api"
    assert client.post("/rounds/1/cancel", auth=ME).json()["state"] == "cancelled"
    again = client.post("/rounds/1/cancel", auth=ME)
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "round 1 is over already: cancelled before it began",
    )


@pytest.mark.parametrize(
    "auth", [None, ("mlbackend", "wrong"), ("labelstudio", "trainer"), ("", ""), ("mlbäckend", "trainer")]
)
@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/projects/1/rounds"),
        ("GET", "/projects/1/rounds"),
        ("GET", "/rounds/1"),
        ("POST", "/rounds/1/cancel"),
    ],
)
def test_strangers_get_nothing(
    client: TestClient, method: str, path: str, auth: tuple[str, str] | None, loop_settings: TrainerSettings
) -> None:
    answer = client.request(method, path, json={"requested_by": "stranger"}, auth=auth)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert Rounds(loop_settings.rounds_dir).open_rounds() == []


@pytest.mark.parametrize(
    "method, path, words",
    [
        ("POST", "/projects/9/rounds", "project 9"),
        ("GET", "/rounds/9", "no round 9"),
        ("POST", "/rounds/9/cancel", "no round 9"),
    ],
)
def test_what_is_not_there_is_named(client: TestClient, method: str, path: str, words: str) -> None:
    answer = client.request(method, path, json={}, auth=ME)
    assert answer.status_code == 404
    assert words in answer.json()["detail"]


def test_a_round_that_cannot_work_is_refused_with_the_reason(
    client: TestClient, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    fake_studio.tasks.clear()
    answer = client.post("/projects/1/rounds", json={}, auth=ME)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("Label 5 more images first. None is labelled yet")
    assert Rounds(loop_settings.rounds_dir).open_rounds() == []
    fake_studio.down = True
    assert client.post("/projects/1/rounds", json={}, auth=ME).status_code == 503


@pytest.mark.parametrize("body", [{"requested_by": ""}, {"requested_by": "x" * 101}, {"requested_by": 5}, []])
def test_nonsense_is_refused(client: TestClient, body: object) -> None:
    assert client.post("/projects/1/rounds", json=body, auth=ME).status_code == 422


def test_nothing_else_is_served(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path, auth=ME).status_code == 404


def beat(settings: TrainerSettings, projects: dict[str, str | None] | None, error: str | None = None) -> None:
    heartbeat.beat(settings.rounds_dir, projects, {"projects": error} if error else {})


def test_well_without_credentials(client: TestClient, loop_settings: TrainerSettings) -> None:
    beat(loop_settings, {"1": "v0000"})
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "UP", "problems": [], "projects": {"1": "v0000"}, "project_problems": {}},
    )


def test_not_well_before_the_worker_started(client: TestClient) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["problems"]) == (503, ["the worker has not started yet"])


def test_not_well_when_the_worker_hangs(client: TestClient, loop_settings: TrainerSettings) -> None:
    old = Heartbeat(1, 1_700_000_000.0, {"1": "v0000"}, {})
    write_text(loop_settings.rounds_dir / "worker.json", json.dumps(asdict(old)))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert "last sign of life" in answer.json()["problems"][0]


def test_not_well_before_the_starting_model_is_there(
    client: TestClient, loop_settings: TrainerSettings
) -> None:
    beat(loop_settings, {"2": None}, "Label Studio is slow")
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["project 2 has no starting model yet: Label Studio is slow"]


def test_not_well_before_there_is_a_project_but_well_when_the_last_one_has_gone(
    client: TestClient, loop_settings: TrainerSettings, models: ProjectModels, tmp_path: Path
) -> None:
    """Who is well once is waited for no longer: the first project's model may take minutes to come."""
    beat(loop_settings, {})
    shutil.rmtree(models.path)
    models.path.mkdir()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["Label Studio has no project to work for yet"]
    add_version(models, tmp_path / "made")
    assert client.get("/health").json()["status"] == "UP"


def test_well_while_new_projects_wait_for_their_starting_models(
    client: TestClient, loop_settings: TrainerSettings
) -> None:
    beat(loop_settings, {"1": "v0000", "2": None, "3": None})
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["problems"]) == (200, [])
    beat(loop_settings, {"2": None, "3": None})
    answer = client.get("/health")
    assert answer.status_code == 503, "nothing is served yet"
    assert answer.json()["problems"][0] == "project 2 has no starting model yet: it is being written"


def test_a_starting_model_that_cannot_be_written_concerns_its_project_unless_nothing_is_served(
    client: TestClient, loop_settings: TrainerSettings
) -> None:
    told = "the starting model could not be written: no weights anywhere"
    for projects, status, problems in (
        ({"1": "v0000", "2": None}, 200, []),
        ({"2": None}, 503, [f"project 2 has no starting model yet: {told}"]),
    ):
        heartbeat.beat(loop_settings.rounds_dir, projects, {}, {"2": {"starting models": told}})
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["problems"]) == (status, problems)
        assert answer.json()["project_problems"] == {"2": [told]}


def test_the_last_sign_of_life_of_an_earlier_release_is_read(
    client: TestClient, loop_settings: TrainerSettings
) -> None:
    row = {"pid": 1, "at": time.time(), "projects": {"1": "v0000"}, "errors": {}}
    write_text(loop_settings.rounds_dir / "worker.json", json.dumps(row))
    assert client.get("/health").json()["status"] == "UP"


def test_not_well_without_label_studio(
    client: TestClient, loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    beat(loop_settings, {"1": "v0000"})
    fake_studio.down = True
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["problems"] == [f"Label Studio does not answer at {fake_studio.url}/health"]


def test_health_tells_no_secret(client: TestClient, loop_settings: TrainerSettings) -> None:
    beat(loop_settings, None, "GET http://x/api/projects: 401")
    text = client.get("/health").text
    assert "token" not in text
    assert State.REQUESTED not in text


@pytest.fixture
def served(
    loop_settings: TrainerSettings, models: ProjectModels, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """API and dashboard on ports that the health check program finds in TRAINER_BIND and DASHBOARD_BIND."""
    apps = {
        "TRAINER_BIND": create_app(loop_settings, "trainer"),
        "DASHBOARD_BIND": create_dashboard(WatchedLoop.connect(loop_settings), "a secret"),
    }
    servers = {}
    for name, app in apps.items():
        port = free_port()
        monkeypatch.setenv(name, f"127.0.0.1:{port}")
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
        servers[server] = threading.Thread(target=server.run)
    env.get_settings.cache_clear()
    for server, thread in servers.items():
        thread.start()
        while not server.started:
            time.sleep(0.01)
    yield
    for server, thread in servers.items():
        server.should_exit = True
        thread.join()
    env.get_settings.cache_clear()


@pytest.mark.usefixtures("served")
def test_the_health_program_asks_the_dashboard_too(
    loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beat(loop_settings, {"1": "v0000"})
    monkeypatch.setenv("DASHBOARD_BIND", "127.0.0.1:9")
    assert probe.main() == 1
    assert "the dashboard does not answer on 127.0.0.1:9: " in capsys.readouterr().out


@pytest.mark.usefixtures("served")
def test_the_health_program_agrees(
    loop_settings: TrainerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe.main() == 1
    assert capsys.readouterr().out == "the worker has not started yet\n"
    beat(loop_settings, {"1": "v0000"})
    assert probe.main() == 0
    assert capsys.readouterr().out == "in service: v0000 (project 1)\n"


def test_the_health_program_fails_when_nobody_listens(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRAINER_BIND", "127.0.0.1:9")
    assert probe.main() == 1
    assert "the trainer does not answer on 127.0.0.1:9: " in capsys.readouterr().out


@pytest.mark.usefixtures("child_processes")
def test_the_health_program_is_light() -> None:
    """It runs every five seconds, so that it does without our dependencies."""
    heavy = "{'requests', 'pydantic', 'numpy'} & set(sys.modules)"
    program = f"import sys, trainer.health.probe, mlbackend.probe; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
