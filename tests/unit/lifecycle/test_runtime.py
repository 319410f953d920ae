"""Docker, a swarm or the host: what is chosen, that it is kept, that an engine that is silent is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.engine import NoEngine
from lifecycle.home import Home
from lifecycle.runtime import runtime, swarm
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.swarm_stack import SwarmStack
from lifecycle.settings import settings
from lifecycle.settings.settings import Settings

Docker = Callable[[str], None]
DENIED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/version": connect: permission denied'
)
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a docker on PATH that says this on standard error and fails; without words, its engine answers."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def says(words: str) -> None:
        end = f"echo '{words}' >&2; exit 1" if words else '[ "$1" = version ] && echo 28.2.2'
        (programs / "docker").write_text(f"#!/bin/sh\n{end}\n")
        (programs / "docker").chmod(0o755)

    monkeypatch.setenv("PATH", f"{programs}:/nowhere")
    return says


@pytest.mark.parametrize("runs_on", ["docker", "swarm", "host"])
def test_what_it_came_to_is_kept_whatever_becomes_of_the_engine(
    home: Home, docker: Docker, monkeypatch: pytest.MonkeyPatch, runs_on: str
) -> None:
    docker("")
    settings.complete(home, host_runtime=runs_on == "host", accelerator="cpu", swarm=runs_on == "swarm")
    kept = settings.load(home)
    assert runtime.choose_runtime(kept) == runs_on
    assert runtime.choose_runtime(kept | {"RUNTIME": "host"}) == "host"
    assert runtime.choose_runtime(kept | {"RUNTIME": "docker"}) == "docker"


def test_without_docker_or_with_its_client_alone_the_host_is_the_runtime(
    docker: Docker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runtime.choose_runtime(Settings({})) == "host"
    docker(DOWN)
    assert runtime.choose_runtime(Settings({"RUNTIME": "auto"})) == "host"
    assert "running on the host itself" in capsys.readouterr().out
    docker("")
    assert runtime.choose_runtime(Settings({})) == "docker"


@pytest.mark.parametrize(
    "chosen, words, way_out",
    [
        ({}, DENIED, "usermod -aG docker"),
        ({"RUNTIME": "docker"}, DENIED, "usermod -aG docker"),
        ({"RUNTIME": "docker"}, DOWN, "systemctl start docker"),
        ({"LAST_RUNTIME": "docker"}, DOWN, "systemctl start docker"),
        ({"LAST_RUNTIME": "swarm"}, DOWN, "systemctl start docker"),
        ({"RUNTIME": "auto", "LAST_RUNTIME": "docker"}, DENIED, "usermod -aG docker"),
    ],
)
def test_an_engine_that_is_needed_or_refuses_fails_with_its_words(
    docker: Docker, chosen: dict[str, str], words: str, way_out: str
) -> None:
    docker(words)
    with pytest.raises(NoEngine) as raised:
        runtime.choose_runtime(Settings(chosen))
    assert words.split(":")[0] in str(raised.value) and way_out in raised.value.do
    assert "RUNTIME=host" in raised.value.do


def test_docker_that_is_asked_for_and_not_installed(docker: Docker) -> None:
    with pytest.raises(NoEngine, match="Install Docker Engine"):
        runtime.choose_runtime(Settings({"RUNTIME": "docker"}))


def test_an_engine_that_hangs_is_there(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker("")
    monkeypatch.setattr(engine, "PROBE_SECONDS", 0.0)
    with pytest.raises(NoEngine, match="did not answer within 0 s"):
        runtime.choose_runtime(Settings({}))


def test_a_stack_that_cannot_be_asked_is_not_taken_for_one_that_is_down(home: Home, docker: Docker) -> None:
    docker(DOWN)
    settings.complete(home, host_runtime=False, accelerator="cpu")
    with pytest.raises(NoEngine):
        runtime.running_stack(home, settings.load(home))
    docker("")
    assert type(runtime.running_stack(home, settings.load(home))) is DockerStack
    on_swarm = settings.load(home) | {"RUNTIME": "swarm"}
    assert type(runtime.running_stack(home, on_swarm)) is SwarmStack


def test_two_runtimes_do_not_share_the_volumes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(home.root)
    container: dict[str, Any] = {
        "Config": {"Labels": {"com.docker.compose.project.working_dir": folder}},
        "State": {"Running": True},
    }
    monkeypatch.setattr(engine, "containers", lambda project: [container])
    monkeypatch.setattr(HostStack, "is_there", lambda stack: True)
    monkeypatch.setattr(swarm, "runs_of", lambda folder: folder == str(home.root))
    for here, other in (("host", "docker"), ("docker", "host"), ("swarm", "host")):
        with pytest.raises(Failure, match=rf"running on {other}.*`make down RUNTIME={other}`"):
            runtime.check_alone(home, Settings({}), here)
    monkeypatch.setattr(HostStack, "is_there", lambda stack: False)
    for here, other in (("docker", "swarm"), ("host", "docker"), ("swarm", "docker")):
        with pytest.raises(Failure, match=rf"running on {other}.*`make down RUNTIME={other}`"):
            runtime.check_alone(home, Settings({}), here)
    monkeypatch.setattr(swarm, "runs_of", lambda folder: False)
    runtime.check_alone(home, Settings({}), "docker")
    container["Config"]["Labels"]["com.docker.compose.project.working_dir"] = "/another/checkout"
    runtime.check_alone(home, Settings({}), "host")


def test_what_swarm_runs_here_is_seen_while_no_manager_answers(
    home: Home, docker: Docker, tmp_path: Path
) -> None:
    """Managers that can't agree answer nothing, and their containers run on with the volumes."""
    docker("")
    (tmp_path / "programs/docker").write_text(
        f"""#!/bin/sh
case "$*" in
  version*) echo 28.2.2 ;;
  "ps --quiet --filter label={engine.FOLDER_LABEL}={home.root}") echo c1 ;;
  "ps --quiet --no-trunc --filter label={swarm.NAMESPACE}=labelloop") echo c1 ;;
  "inspect --type container c1") echo '[{{"Id": "c1"}}]' ;;
  ps*) ;;
  *) echo "The swarm does not have a leader." >&2; exit 1 ;;
esac
"""
    )
    with pytest.raises(Failure, match="running on swarm"):
        runtime.check_alone(home, Settings({}), "docker")
    stack = SwarmStack(home, Settings({}))
    assert stack.is_there()
    with pytest.raises(Failure, match="stopping the stack failed") as raised:
        stack.stop()
    assert "docker node ls" in raised.value.do
    with pytest.raises(Failure, match="backup's container: found none on this node"):
        stack.backup_service(["count"])  # and no container of Compose's, beside a second PostgreSQL
