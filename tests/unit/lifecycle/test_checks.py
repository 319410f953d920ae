import os
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from lifecycle import engine
from lifecycle.build import host_python
from lifecycle.console import Failure
from lifecycle.doctor import checks
from lifecycle.home import Home
from lifecycle.settings.settings import Settings

Usage = namedtuple("Usage", "total used free")
SETTINGS = Settings(
    {"BIND": "127.0.0.1", "PORT": "0", "DASHBOARD_PORT": "1", "COMPOSE_PROJECT_NAME": "labelloop"}
)


@pytest.fixture(autouse=True)
def good_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine, room and memory; each test takes one thing away."""
    pretend_engine(monkeypatch)
    monkeypatch.setattr(engine, "compose_version", lambda: "2.26.1-4")
    monkeypatch.setattr(engine, "can_build", lambda: True)
    monkeypatch.setattr(engine, "containers", lambda project: [])
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: Usage(0, 0, 100e9))


def pretend_engine(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    info = {"ServerVersion": "20.10.24+dfsg1", "MemTotal": 8e9, "DockerRootDir": "/", **changes}
    monkeypatch.setattr(engine, "engine_info", lambda: info)


def container(folder: Path, service: str = "labelstudio", port: int = 0) -> dict[str, Any]:
    bindings = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if port else None
    labels = {"com.docker.compose.service": service, "com.docker.compose.project.working_dir": str(folder)}
    host = {"PortBindings": bindings}
    return {"Config": {"Labels": labels}, "State": {"Running": True}, "HostConfig": host}


def test_a_good_host_passes(home: Home) -> None:
    checks.check_docker(home, SETTINGS, built=False)


@pytest.mark.parametrize("version", [None, "19.03.8"])
def test_an_engine_that_is_old_or_absent(
    home: Home, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    pretend_engine(monkeypatch, ServerVersion=version)
    with pytest.raises(
        Failure, match=rf"Docker engine: found {version or 'none'}.*, needed 20.10 or newer\. Install"
    ):
        checks.check_docker(home, SETTINGS, built=False)


def test_a_compose_that_is_old(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "compose_version", lambda: "2.9.0")
    with pytest.raises(Failure, match=r"Docker compose: found 2.9.0, needed 2.20 or newer"):
        checks.check_docker(home, SETTINGS, built=False)


def test_a_full_disk_matters_less_once_the_images_are_built(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: Usage(0, 0, 5e9))
    with pytest.raises(Failure, match=r"disk space at /: found 5.0 GB free, needed 20 GB\. Free some"):
        checks.check_docker(home, SETTINGS, built=False)
    checks.check_docker(home, SETTINGS, built=True)


def test_little_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_engine(monkeypatch, MemTotal=2e9)
    with pytest.raises(Failure, match=r"memory: found 2.0 GB, needed 3.5 GB"):
        checks.check_docker(home, SETTINGS, built=True)


@pytest.mark.parametrize(("name", "service"), [("PORT", "labelstudio"), ("DASHBOARD_PORT", "trainer")])
def test_a_port_in_use_names_another(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, service: str
) -> None:
    """Unless the service that publishes it holds it, whatever has become of the others."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            Failure, match=rf"port {port} on 127.0.0.1: found another program.* {name}={port + 2}"
        ):
            checks.check_docker(home, SETTINGS | {name: str(port)}, built=True)
        monkeypatch.setattr(engine, "containers", lambda project: [container(home.root, service, port)])
        checks.check_docker(home, SETTINGS | {name: str(port)}, built=True)


def test_the_dashboards_port_is_the_trainers_where_that_has_the_hosts_network(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with CLUSTER_BIND, where no port of it is published."""
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        trainer = container(home.root, "trainer")
        trainer["HostConfig"]["NetworkMode"] = "host"
        trainer["Config"]["Env"] = ["THREADS=1", f"DASHBOARD_BIND=127.0.0.1:{port}"]
        monkeypatch.setattr(engine, "containers", lambda project: [trainer])
        checks.check_docker(home, SETTINGS | {"DASHBOARD_PORT": str(port)}, built=True)
        trainer["HostConfig"]["NetworkMode"] = "labelloop_default"
        with pytest.raises(Failure, match="found another program listening"):
            checks.check_docker(home, SETTINGS | {"DASHBOARD_PORT": str(port)}, built=True)


def test_a_service_that_moves_does_not_own_the_port_it_moves_to(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.env_file.write_text("PORT=8080\nDASHBOARD_PORT=8081\n")
    monkeypatch.setattr(engine, "containers", lambda project: [container(home.root, "labelstudio", 8080)])
    monkeypatch.setattr(host_python, "find_python", lambda: "python3.11")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        moved = SETTINGS | {"PORT": str(other.getsockname()[1])}
        with pytest.raises(Failure, match="found another program listening"):
            checks.check_docker(home, moved, built=True)
        with pytest.raises(Failure, match="found another program listening"):
            checks.check_host(home, moved, built=True, running=True)


def test_the_way_out_of_a_taken_port_repeats_all_that_was_typed(home: Home) -> None:
    given = {"DETECTOR": "yolox_s", "PORT": "8080", "PROJECT_TITLE": "cats & dogs", "DASHBOARD_PORT": "8080"}
    with pytest.raises(Failure) as refused:
        checks.check_docker(home, SETTINGS | given, built=True, given=given)
    command = "make up DETECTOR=yolox_s PORT=8080 'PROJECT_TITLE=cats & dogs' DASHBOARD_PORT=8081"
    assert f"`{command}`" in str(refused.value)


def test_an_address_of_another_host_is_not_a_taken_port(home: Home) -> None:
    """192.0.2.0/24 is nobody's: it is for documentation."""
    with pytest.raises(Failure, match=r"BIND: found 192\.0\.2\.10, which is no address of this host"):
        checks.check_docker(home, SETTINGS | {"BIND": "192.0.2.10"}, built=True)


def test_one_port_for_two(home: Home) -> None:
    with pytest.raises(Failure, match=r"DASHBOARD_PORT: found 8080, which is PORT, needed another one"):
        checks.check_docker(home, SETTINGS | {"PORT": "8080", "DASHBOARD_PORT": "8080"}, built=True)


def test_a_stack_of_the_same_name_from_elsewhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "containers", lambda project: [container(Path("/somewhere/else"))])
    with pytest.raises(Failure, match=r"the name labelloop: found a stack of that name from /somewhere/else"):
        checks.check_docker(home, SETTINGS, built=True)


def test_a_host_without_the_right_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_python, "answer", lambda command: "/usr/bin/python3 3.13")
    with pytest.raises(Failure, match=r"Python: found no python3.11 with venv.*needed 3.11, for .*Docker"):
        host_python.find_python()


@pytest.mark.parametrize("name", ["MLBACKEND_PORT", "TRAINER_PORT"])
def test_without_docker_the_inner_ports_must_be_free_too(home: Home, name: str) -> None:
    """Or this checkout's services would talk to another's."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = SETTINGS | {name: str(other.getsockname()[1])}
        with pytest.raises(Failure, match=rf"needed a free port for {name}\. `make up {name}=\d+`"):
            checks.check_host(home, settings, built=True, running=False)
        checks.check_host(home, settings, built=True, running=True)


@pytest.mark.parametrize("name", ["my pictures", "100%", "it's"])
def test_without_docker_the_folders_name_must_be_one_that_supervisord_reads(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    odd = home.root / name
    odd.mkdir()
    with pytest.raises(Failure, match=rf"the folder {odd}: found .* in its name.*RUNTIME=docker"):
        checks.check_host(Home(odd), SETTINGS, built=True, running=False)
    monkeypatch.setenv("LABELLOOP_VENVS", str(odd))
    with pytest.raises(Failure, match=rf"the folder {odd}"):
        checks.check_host(home, SETTINGS, built=True, running=False)
    checks.check_docker(Home(odd), SETTINGS, built=True)


@pytest.mark.parametrize(
    "info, why",
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "found rootless mode"),
        ({"SecurityOptions": ["name=userns"]}, "found userns-remap"),
        ({"Architecture": "aarch64"}, "the processor: found aarch64, needed x86-64.*BIND="),
    ],
)
def test_an_engine_that_the_stack_does_not_run_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, info: dict[str, Any], why: str
) -> None:
    pretend_engine(monkeypatch, SecurityOptions=["name=seccomp,profile=builtin"], Architecture="x86_64")
    checks.check_docker(home, SETTINGS, built=True)
    pretend_engine(monkeypatch, **info)
    with pytest.raises(Failure, match=why):
        checks.check_docker(home, SETTINGS, built=True)


def test_without_docker_the_processor_must_be_the_right_one_too(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.platform, "machine", lambda: "aarch64")
    with pytest.raises(Failure, match="found aarch64"):
        checks.check_host(home, SETTINGS, built=True, running=False)


@pytest.mark.parametrize(
    "client, buildx, can", [("20.10.24", "", True), ("23.0.1", "", False), ("28.2.2", "v0.13", True)]
)
def test_a_docker_that_lacks_buildx_can_not_build(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, buildx: str, can: bool
) -> None:
    monkeypatch.undo()
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo {client} || [ "{buildx}" ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine.can_build() == can


def test_buildx_is_needed_where_something_is_built(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "can_build", lambda: False)
    checks.check_docker(home, SETTINGS, built=True)
    with pytest.raises(Failure, match="Docker buildx: found none"):
        checks.check_docker(home, SETTINGS, built=False)


@pytest.mark.parametrize(
    "name, mode", [("configs/labels", 0o750), ("configs/loop.env", 0o600), ("images/base/labelloop", 0o700)]
)
def test_a_clone_that_is_closed_to_the_containers_user(home: Home, name: str, mode: int) -> None:
    """As a clone under umask 027 or 077 is, when root made it."""
    (home.root / "compose" / "lifecycle" / "__pycache__").mkdir(parents=True, mode=0o700)
    (home.root / "images" / "base" / "labelloop").mkdir(parents=True)
    another = SETTINGS | {"PUID": str(os.geteuid() + 1), "PGID": str(os.getegid())}
    checks.check_docker(home, another, built=True)
    (home.root / name).chmod(mode)
    with pytest.raises(Failure, match=rf"{name}: found closed to others \(mode {mode:o}\).*chmod -R go\+rX"):
        checks.check_docker(home, another, built=True)
    checks.check_docker(home, SETTINGS | {"PUID": str(os.geteuid()), "PGID": str(os.getegid())}, built=True)
