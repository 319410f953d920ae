"""The host runtime's supervisord: what it has given up on gets another try, what has changed a restart."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.build import venvs
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings.settings import Settings

STATUS = """\
labelstudio    RUNNING   pid 11, uptime 0:05:00
provisioner    EXITED    Nov 23 02:00 AM
worker         FATAL     Exited too quickly (process log may have details)
web            FATAL     Exited too quickly (process log may have details)
"""


@pytest.mark.parametrize("status, started", [(STATUS, [("start", "worker", "web")]), ("", [])])
def test_up_starts_programs_that_ended_again_and_again(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str,
    started: list[tuple[str, ...]],
) -> None:
    asked: list[tuple[str, ...]] = []

    def supervisorctl(stack: HostStack, *command: str) -> str:
        if command != ("status",):
            asked.append(command)
        return status

    monkeypatch.setattr(HostStack, "_supervisorctl", supervisorctl)
    monkeypatch.setattr(HostStack, "is_running", lambda stack: True)
    monkeypatch.setattr(HostStack, "_wait", lambda stack: None)
    stack = HostStack(home, Settings({}))
    home.run.mkdir(parents=True)
    (home.run / "settings").write_text(stack._fingerprint())
    stack.start()
    assert asked == started
    assert ("worker, web ended again and again" in capsys.readouterr().out) == bool(started)


REPO = Path(__file__).parents[3]


@pytest.fixture
def restarts(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many restarts one more `make up` brings, of a stack that runs."""
    (home.root / "volumes").mkdir()
    stops: list[str] = []
    monkeypatch.setattr(HostStack, "is_running", lambda stack: len(stops) % 2 == 0)
    monkeypatch.setattr(HostStack, "_supervisorctl", lambda stack, *command: "")
    monkeypatch.setattr(HostStack, "_wait", lambda stack: None)
    monkeypatch.setattr(HostStack, "stop", lambda stack: stops.append("stop"))
    monkeypatch.setattr(HostStack, "_launch", lambda stack: stops.append("launch"))

    def up() -> int:
        before = stops.count("stop")
        HostStack(home, Settings({"PORT": "8080"})).start()
        return stops.count("stop") - before

    up()
    return up


@pytest.mark.parametrize(
    "changed",
    [
        *(f"{folder}/x.py" for folder in venvs.CODE),
        "compose/lifecycle/backup/service.py",
        "configs/gunicorn/mlbackend.py",
        "configs/supervisor/trainer.conf",
        f".venv/ml/{venvs._MARKER}",
        f".venv/labelstudio/{venvs._MARKER}",
    ],
)
def test_up_restarts_a_stack_whose_code_or_environment_has_changed(
    home: Home, restarts: Callable[[], int], changed: str
) -> None:
    assert restarts() == 0
    (home.root / changed).parent.mkdir(parents=True)
    (home.root / changed).write_text("changed")
    assert restarts() == 1
    assert restarts() == 0


def test_every_package_of_the_checkout_is_looked_at() -> None:
    packages = {path.parent for path in (REPO / "images").glob("*/*/__init__.py")}
    assert {REPO / folder for folder in venvs.CODE} == packages
    assert {REPO / package for package in venvs.PACKAGES} == {package.parent for package in packages}


@pytest.mark.parametrize(
    "settings, accelerator",
    [
        ({}, "cpu"),
        ({"ACCELERATOR": "auto", "COMPOSE_FILE": "docker-compose.yml"}, "cpu"),
        ({"ACCELERATOR": "auto", "COMPOSE_FILE": "docker-compose.yml:compose/gpu.yml"}, "cuda"),
        ({"COMPOSE_ACCELERATOR": "cuda", "COMPOSE_FILE": "docker-compose.yml"}, "cpu"),
    ],
)
def test_the_programs_are_told_what_make_up_found(
    home: Home, settings: dict[str, str], accelerator: str
) -> None:
    environment = HostStack(home, Settings(settings))._environment()
    assert environment["ACCELERATOR"] == accelerator
    sees_a_gpu = environment.get("CUDA_VISIBLE_DEVICES") != ""
    assert sees_a_gpu == (accelerator == "cuda")
