"""REPLICAS and BACKENDS: where they are refused, and what a service of several containers is said to be."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelloop import ranges
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.settings import settings
from lifecycle.settings.settings import Settings
from lifecycle.verbs import up

REPO = Path(__file__).parents[3]


def refusal(home: Home, values: dict[str, str], runtime: str = "docker") -> Failure:
    with pytest.raises(Failure) as raised:
        up.check_numbers(home, Settings(values), runtime)
    return raised.value


@pytest.mark.parametrize("runtime", ["docker", "host"])
def test_several_of_label_studio_are_refused_on_sqlite(home: Home, runtime: str) -> None:
    error = refusal(home, {"REPLICAS": "2"}, runtime)
    assert "REPLICAS=2" in error.text and "SQLite" in error.text and "one writer at a time" in error.text
    assert "`make up DATABASE=postgres REPLICAS=2`" in error.do and "`make up REPLICAS=1`" in error.do
    for values in ({}, {"REPLICAS": "1"}, {"REPLICAS": "2", "DATABASE": "postgres"}):
        up.check_numbers(home, Settings(values), runtime)
    up.check_numbers(home, Settings({"REPLICAS": "2", "DATABASE_URL": "postgresql://a@b/c"}), runtime)


def test_labels_on_sqlite_are_to_be_taken_along(home: Home) -> None:
    (home.volumes / "labelstudio").mkdir(parents=True)
    (home.volumes / "labelstudio" / "label_studio.sqlite3").touch()
    assert "`make move-database`" in refusal(home, {"REPLICAS": "2"}).do


def test_several_backends_are_docker_s_alone(home: Home) -> None:
    error = refusal(home, {"BACKENDS": "2"}, "host")
    assert "BACKENDS=2" in error.text and "THREADS" in error.text and "`make up BACKENDS=1`" in error.do
    up.check_numbers(home, Settings({"BACKENDS": "2"}), "docker")
    up.check_numbers(home, Settings({"BACKENDS": "1"}), "host")


@pytest.mark.parametrize("given", [{"REPLICAS": "0"}, {"REPLICAS": "6"}, {"BACKENDS": "two"}])
def test_impossible_numbers_are_refused(home: Home, given: dict[str, str]) -> None:
    with pytest.raises(Failure, match="a whole number from 1 to"):
        settings.check(home, given)


def test_the_proxy_has_a_place_for_each_container_that_there_may_be() -> None:
    text = (REPO / "configs" / "haproxy" / "labelstudio.cfg").read_text()
    places = re.search(r"server-template replica (\d+) labelstudio:8080", text)
    assert places is not None and int(places[1]) == ranges.WHOLE_NUMBERS["REPLICAS"][1]


def test_the_files_of_compose_are_those_that_the_numbers_need() -> None:
    def files(**values: str) -> list[str]:
        return settings.compose_files(Settings(values), on_gpu=False).split(":")[1:]

    assert files() == files(REPLICAS="1", BACKENDS="1") == []
    both = ["compose/postgres.yml", "compose/replicas.yml", "compose/backends.yml"]
    assert files(DATABASE="postgres", REPLICAS="2", BACKENDS="3") == both


@pytest.mark.parametrize(("replicas", "processes"), [(None, 2), ("", 2), ("1", 2), ("3", 6)])
def test_on_the_host_runtime_replicas_are_processes(
    monkeypatch: pytest.MonkeyPatch, replicas: str | None, processes: int
) -> None:
    nothing = SimpleNamespace(configure=lambda: None, package_dir=lambda: "/")
    modules = {"provisioner": SimpleNamespace(django_app=nothing, logs=nothing)}
    for name, module in modules.items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.delenv("REPLICAS", raising=False)
    if replicas is not None:
        monkeypatch.setenv("REPLICAS", replicas)
    path = str(REPO / "configs" / "gunicorn" / "labelstudio.py")
    read = runpy.run_path(path)
    assert (read["workers"], read["proxy_protocol"]) == (processes, "off")
    monkeypatch.setenv("LABELSTUDIO_FRONT", "haproxy")
    read = runpy.run_path(path)
    assert (read["workers"], read["proxy_protocol"]) == (2, "auto")


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["healthy", "healthy"], "healthy"),
        (["healthy", "unhealthy"], "unhealthy"),
        (["starting", "healthy"], "starting"),
        (["unhealthy", "starting", "healthy"], "unhealthy"),
        (["healthy", "paused"], "paused"),
    ],
)
def test_a_service_is_as_its_worst_container(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: list[str], told: str
) -> None:
    containers = [
        {
            "Id": str(number),
            "Config": {"Labels": {"com.docker.compose.service": "labelstudio"}},
            "State": {
                "Status": "paused" if state == "paused" else "running",
                "Running": True,
                "StartedAt": "2026-11-29T00:00:00Z",
                "Health": {"Status": state, "Log": [{"Output": f"{number} says {state}"}]},
            },
            "RestartCount": 0,
        }
        for number, state in enumerate(states)
    ]
    (tmp_path / "inspected.json").write_text(json.dumps(containers))
    (tmp_path / "docker").write_text(
        f"""#!/bin/sh
case "$*" in
  ps*) echo 0 1 2 ;;
  inspect*) cat {tmp_path}/inspected.json ;;
  logs*) ;;
  *) exit 1 ;;
esac
"""
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    stack = DockerStack(home, "labelloop")
    assert stack.states() == {"labelstudio": told}
    if told != "healthy":
        assert "healthy" not in stack.complaint("labelstudio").split()
