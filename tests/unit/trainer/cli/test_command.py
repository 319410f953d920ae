"""What every command has: a project to choose, errors as one line."""

import subprocess
import sys

import pytest
from support.cli import Run
from support.fake_studio import FakeStudio

from trainer import env
from trainer.peers.projects import DEMO

pytestmark = pytest.mark.usefixtures("models")


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
    modules = "trainer.cli, trainer.health.status, trainer.api.app, trainer.worker.__main__"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_with_several_projects_a_command_says_how_to_choose(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(2)
    result = run("models")
    assert result.exit_code == 1
    assert "choose a project with PROJECT=<id>; there are: 1 (project 1), 2 (project 2)" in result.output
    assert run("models", "--project", "1").exit_code == 0
    fake_studio.projects[2]["description"] = DEMO
    assert run("models").exit_code == 0, "the demo leaves the other commands as they were"
