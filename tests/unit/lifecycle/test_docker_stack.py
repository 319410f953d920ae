"""The states of the stack's containers, told by a docker that the tests write."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime import docker_stack
from lifecycle.runtime.docker_stack import DockerStack

STARTED = "2026-01-02T00:00:00Z"
GAVE_UP = "INFO gave up: labelstudio entered FATAL state, too many start retries too quickly"


@pytest.mark.parametrize(
    ("health", "restarts", "status", "words", "state"),
    [
        ("starting", 0, "running", "INFO spawned: 'labelstudio' with pid 9", "starting"),
        ("starting", 0, "running", GAVE_UP, "failing"),
        ("healthy", 0, "running", GAVE_UP, "healthy"),
        ("unhealthy", 0, "running", "", "unhealthy"),
        ("starting", 3, "restarting", "", "failing"),
        ("starting", 1, "restarting", "", "restarting"),
    ],
)
def test_a_program_that_was_given_up_is_not_waited_for(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    health: str,
    restarts: int,
    status: str,
    words: str,
    state: str,
) -> None:
    """Only what the log says since the container's start counts: an earlier start may have given up."""
    container = {
        "Id": "abc",
        "Config": {"Labels": {"com.docker.compose.service": "labelstudio"}},
        "State": {"Status": status, "StartedAt": STARTED, "Health": {"Status": health}},
        "RestartCount": restarts,
    }
    (tmp_path / "inspected.json").write_text(json.dumps([container]))
    (tmp_path / "docker").write_text(
        f"""#!/bin/sh
case "$*" in
  ps*) echo abc ;;
  "inspect abc") cat {tmp_path}/inspected.json ;;
  "logs --since {STARTED} abc") echo "{words}" ;;
  *) exit 1 ;;
esac
"""
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert DockerStack(home, "labelloop").states() == {"labelstudio": state}


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        ('could not select device driver "nvidia" with capabilities: [[gpu]]', "ACCELERATOR=cpu"),
        ("driver failed programming external connectivity", "`make logs` shows more"),
    ],
)
def test_what_docker_refuses_has_a_way_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, way_out: str
) -> None:
    """The first is what Docker says where the driver lists a GPU and its Container Toolkit is missing."""
    (tmp_path / "docker").write_text(
        f"""#!/bin/sh
[ "$1" = compose ] || exit 0
echo 'Error response from daemon: {words}'
exit 1
"""
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Failure) as raised:
        DockerStack(home, "labelloop").start()
    assert words in raised.value.text and way_out in raised.value.do


def test_a_database_that_ends_again_and_again_is_named_with_its_last_words(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose itself says of it only that a dependency failed to start, and nothing of why."""
    container = {
        "Id": "abc",
        "Config": {"Labels": {"com.docker.compose.service": "postgres"}},
        "State": {"Status": "restarting", "StartedAt": STARTED},
        "RestartCount": 3,
    }
    (tmp_path / "inspected.json").write_text(json.dumps([container]))
    (tmp_path / "docker").write_text(
        f"""#!/bin/sh
case "$*" in
  ps*) echo abc ;;
  "inspect abc") cat {tmp_path}/inspected.json ;;
  "compose logs"*postgres) echo "FAIL  the database's server: needed PostgreSQL 15" ;;
  "compose up"*) echo "dependency failed to start"; exit 1 ;;
esac
"""
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Failure, match="postgres is failing after .*\n\nFAIL .* needed PostgreSQL 15"):
        DockerStack(home, "labelloop", own_postgres=True).start()


@pytest.fixture
def healths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has docker tell of the services' health, look after look; the last look stays."""

    def tell(*looks: dict[str, str]) -> None:
        for number, look in enumerate(looks):
            containers = [
                {
                    "Id": service,
                    "Config": {"Labels": {"com.docker.compose.service": service}},
                    "State": {"Status": "running", "StartedAt": STARTED, "Health": {"Status": health}},
                    "RestartCount": 0,
                }
                for service, health in look.items()
            ]
            (tmp_path / f"look-{number}.json").write_text(json.dumps(containers))
        (tmp_path / "docker").write_text(
            f"""#!/bin/sh
cd {tmp_path}
case "$*" in
  ps*) ls look-*.json | head -1 ;;
  inspect*) cat "$2"; [ "$2" = look-{len(looks) - 1}.json ] || rm "$2" ;;
  "compose logs"*) echo "nothing of $*" ;;
esac
"""
        )
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setattr(
            docker_stack, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: None)
        )

    return tell


def test_who_waits_for_another_is_not_given_up_before_that_one_is_healthy(
    home: Home, healths: Callable[..., None]
) -> None:
    """All are started at once, and the starting model of a new project may take minutes to come."""
    healths(
        {"labelstudio": "starting", "trainer": "starting", "mlbackend": "starting"},
        {"labelstudio": "healthy", "trainer": "starting", "mlbackend": "unhealthy"},
        {"labelstudio": "healthy", "trainer": "healthy", "mlbackend": "unhealthy"},
        {"labelstudio": "healthy", "trainer": "healthy", "mlbackend": "healthy"},
    )
    DockerStack(home, "labelloop").start()


@pytest.mark.parametrize(
    ("trainer", "named"), [("unhealthy", "trainer"), ("starting", ""), ("healthy", "mlbackend")]
)
def test_the_first_that_stays_unhealthy_is_named(
    home: Home,
    healths: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    trainer: str,
    named: str,
) -> None:
    """What comes behind it is unhealthy because of it."""
    monkeypatch.setattr(docker_stack, "PATIENCE_SECONDS", 0.0)
    ill = {"labelstudio": "healthy", "trainer": trainer, "mlbackend": "unhealthy"}
    healths(ill, ill, ill, ill, ill, ill | {"trainer": "healthy", "mlbackend": "healthy"})
    if not named:
        DockerStack(home, "labelloop").start()
        return
    with pytest.raises(Failure, match=f"^{named} is unhealthy after .*\n\nnothing of .* {named}"):
        DockerStack(home, "labelloop").start()
