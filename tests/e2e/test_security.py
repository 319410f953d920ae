"""Each claim of docs/explanation/security.md, tried from outside on the running stack.

Where the claim is about containers, the host runtime tries what it has instead: its own processes, ports and
files. Goes on from whatever stack the tests before it have left.
"""

import json
import os
import re
import secrets
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from support.dashboard_pages import guarded
from support.stack import Stack, wait_for

from labelloop.task_filters import UNLABELLED

SECRETS = (
    "ADMIN_PASSWORD",
    "API_TOKEN",
    "SECRET_KEY",
    "BACKEND_PASSWORD",
    "TRAINER_PASSWORD",
    "DASHBOARD_SECRET",
    "DATABASE_PASSWORD",
)
SERVICES = {"labelstudio": 2, "trainer": 4, "mlbackend": 2, "backup": 0}
"""And how many processes that read secrets, at least: what the tests look through must be there."""
HELD = {
    "labelstudio": {
        "ADMIN_PASSWORD",
        "API_TOKEN",
        "SECRET_KEY",
        "BACKEND_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    },
    "trainer": {"API_TOKEN", "BACKEND_PASSWORD", "TRAINER_PASSWORD", "DASHBOARD_SECRET"},
    "mlbackend": {"API_TOKEN", "BACKEND_PASSWORD", "TRAINER_PASSWORD"},
    "backup": set(),
}
MARK = b"LABELLOOP_SUPERVISED_FROM="


def docker(stack: Stack, *arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], cwd=stack.home, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def containers(stack: Stack) -> dict[str, dict[str, Any]]:
    """`docker inspect` of each service's container."""
    wanted = f"label=com.docker.compose.project={stack.name}"
    found = json.loads(docker(stack, "inspect", *docker(stack, "ps", "-q", "--filter", wanted).split()))
    return {row["Config"]["Labels"]["com.docker.compose.service"]: row for row in found}


def processes(stack: Stack) -> Iterator[tuple[bytes, bytes]]:
    """Environment and command line of each process of the stack."""
    if stack.runtime == "docker":
        script = "for p in /proc/[0-9]*; do base64 -w0 $p/environ; echo; base64 -w0 $p/cmdline; echo; done"
        for service in SERVICES:
            program = ["exec", "-T", service, "sh", "-c", f"{script} 2>/dev/null"]
            told = docker(stack, "compose", "--project-name", stack.name, *program).splitlines()
            rows = [
                subprocess.run(["base64", "-d"], input=row.encode(), capture_output=True).stdout
                for row in told
            ]
            yield from zip(rows[::2], rows[1::2], strict=True)
        return
    mark = MARK + os.fsencode(stack.home / "volumes" / "run")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            yield environment, command


def shown(stack: Stack, text: "bytes | str") -> list[str]:
    """Names of the secrets whose values are in a text."""
    whole = text if isinstance(text, bytes) else text.encode()
    return [name for name in SECRETS if stack.env()[name].encode() in whole]


def files_below(folder: Path, *patterns: str) -> Iterator[tuple[Path, bytes]]:
    """Each file and its content, but for files that have gone since they were listed: the services go on."""
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name)
            if any(path.match(pattern) for pattern in patterns):
                with suppress(FileNotFoundError):
                    yield path, path.read_bytes()


def test_no_process_has_a_secret_in_its_environment_or_command_line(stack: Stack) -> None:
    found = list(processes(stack))
    ours = [environment for environment, _ in found if b"SECRETS_DIR=" in environment]
    assert len(ours) >= sum(SERVICES.values()), "the look-out sees the services"
    for environment, command in found:
        assert shown(stack, environment) == [], command
        assert shown(stack, command) == []


def test_secrets_are_files_of_the_services_user_alone(stack: Stack) -> None:
    folder = stack.home / "volumes" / "run" / "secrets"
    owner = int(stack.env()["PUID"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in SECRETS:
        status = (folder / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o400, owner)
        assert (folder / name).read_text() == stack.env()[name]
    for private in ("labelstudio", "backups"):
        assert (stack.home / "volumes" / private).stat().st_mode & 0o077 == 0
    assert stat.S_IMODE((stack.home / ".env").stat().st_mode) == 0o600


def test_each_service_is_confined(stack: Stack) -> None:
    """Containers: as the unprivileged user, without capabilities, on a read-only root, with limits. The
    host's programs: nothing of theirs listens beyond the loopback.
    """
    if stack.runtime == "host":
        assert listening_beyond_loopback(stack) == set()
        return
    found = containers(stack)
    assert found.keys() == SERVICES.keys()
    for service, container in found.items():
        config, host = container["Config"], container["HostConfig"]
        assert config["User"] == f"{stack.env()['PUID']}:{stack.env()['PGID']}" and not config[
            "User"
        ].startswith("0:")
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"]
        assert host["ReadonlyRootfs"] and "no-new-privileges:true" in host["SecurityOpt"]
        assert 0 < host["PidsLimit"] <= 4096 and host["Memory"] >= 2**30
        assert "size=" in host["Tmpfs"]["/tmp"]
        assert host["PidMode"] == host["UTSMode"] == "" and host["IpcMode"] in ("private", "shareable")
        assert shown(stack, json.dumps(config)) == [], "docker inspect"
        mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
        assert not [mount for mount in mounts.values() if "docker.sock" in mount["Source"]]
        mounted = {Path(path).name for path in mounts if path.startswith("/run/secrets/")}
        assert mounted == HELD[service]
        written = {path for path, mount in mounts.items() if mount["RW"]}
        assert all(path.startswith("/labelloop/volumes/") for path in written), written
        told = docker(stack, "exec", container["Id"], "cat", "/proc/self/status")
        assert re.search(r"^CapEff:\s+0+$", told, re.MULTILINE) and re.search(
            r"^NoNewPrivs:\s+1$", told, re.MULTILINE
        )


def test_no_image_holds_a_secret(stack: Stack) -> None:
    """Nor, without images, do the programs' folders below configs/ and images/."""
    if stack.runtime == "host":
        for folder in ("configs", "images", "compose"):
            for path, content in files_below(stack.home / folder, "*"):
                assert shown(stack, content) == [], path
        return
    for container in containers(stack).values():
        image = container["Image"]
        assert shown(stack, docker(stack, "history", "--no-trunc", image)) == []
        assert shown(stack, docker(stack, "image", "inspect", image)) == []


def test_no_log_holds_a_secret(stack: Stack) -> None:
    """What the services say, and every text below volumes/ that isn't a database or a secret's own file."""
    if stack.runtime == "docker":
        assert (
            shown(stack, docker(stack, "compose", "--project-name", stack.name, "logs", "--no-color")) == []
        )
    texts = dict(files_below(stack.home / "volumes", "*.log", "*.txt", "*.json*"))
    assert stack.home / "volumes/labelstudio/provisioned.json" in texts
    assert stack.runtime == "docker" or stack.home / "volumes/run/labelloop.log" in texts
    for path, content in texts.items():
        assert shown(stack, content) == [], path


def addresses() -> list[str]:
    """This host's, but for the loopback; those of Docker's own bridges too."""
    told = subprocess.run(["hostname", "-I"], check=False, capture_output=True, text=True, timeout=10).stdout
    return [address for address in told.split() if ":" not in address]


def opens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def inner_ports(stack: Stack) -> list[int]:
    """Where the backend and the trainer's API listen."""
    if stack.runtime == "docker":
        return [9090, 9191]
    return [int(stack.env()["MLBACKEND_PORT"]), int(stack.env()["TRAINER_PORT"])]


def published_ports(stack: Stack) -> list[int]:
    return [stack.port, int(stack.env()["DASHBOARD_PORT"])]


def listening_beyond_loopback(stack: Stack) -> set[int]:
    """Ports of the stack that the kernel has open on another address than 127.0.0.1 (0100007F)."""
    ours, found = {*inner_ports(stack), *published_ports(stack)}, set()
    for table in ("tcp", "tcp6"):
        for row in Path("/proc/net", table).read_text().splitlines()[1:]:
            address, port = row.split()[1].split(":")
            if row.split()[3] == "0A" and int(port, 16) in ours and address != "0100007F":
                found.add(int(port, 16))
    return found


def test_nothing_is_reached_from_another_machine(stack: Stack) -> None:
    """On the loopback the two published ports open; on the host's other addresses nothing does."""
    assert all(opens("127.0.0.1", port) for port in published_ports(stack)), "the look-out sees what is open"
    for address in addresses():
        for port in (*published_ports(stack), *inner_ports(stack)):
            ours = stack.runtime == "docker" and port in (9090, 9191)
            assert not opens(address, port) or (ours and stranger_on(address, port)), f"{address}:{port}"
    if stack.runtime == "docker":
        published = [
            port
            for row in containers(stack).values()
            for port in (row["NetworkSettings"]["Ports"] or {}).items()
        ]
        bound = {binding["HostIp"] for _, bindings in published for binding in bindings or ()}
        assert bound == {"127.0.0.1"}
        assert {inner for inner, bindings in published if bindings} == {"8080/tcp", "9292/tcp"}


def stranger_on(address: str, port: int) -> bool:
    """Whether it is another program that has one of the usual ports, not the backend or the trainer."""
    answer = requests.get(f"http://{address}:{port}/health", timeout=5)
    return "projects" not in answer.text


LABEL_STUDIO_PATHS = (
    *("/api/projects", "/api/tasks", "/api/ml", "/api/users", "/api/current-user/token"),
    *("/projects/1/data", "/admin/", "/data/local-files/?d=images/"),
)


def test_a_stranger_is_refused_at_what_is_published(stack: Stack) -> None:
    _, dashboard = ports = published_ports(stack)
    for port, paths in zip(ports, (LABEL_STUDIO_PATHS, guarded("GET")), strict=True):
        for path in paths:
            url = f"http://127.0.0.1:{port}{path}"
            answer = requests.get(url, timeout=30, allow_redirects=False)
            to_login = answer.status_code in (302, 303) and "/login" in answer.headers["Location"]
            assert to_login or answer.status_code in (401, 403), f"{url}: {answer.status_code}"
            posted = requests.post(url, timeout=30, allow_redirects=False)
            assert posted.status_code in (302, 303, 401, 403, 405), f"POST {url}: {posted.status_code}"
    for path in guarded("POST"):
        posted = requests.post(f"http://127.0.0.1:{dashboard}{path}", timeout=30, allow_redirects=False)
        assert posted.status_code in (401, 403), f"POST {path}: {posted.status_code}"


ASK = """
import json, os, requests
found = {}
for url in json.loads(os.environ["ASK"]):
    for auth in (None, ("labelstudio", "guess"), ("mlbackend", "guess")):
        found.setdefault(url, []).append(requests.post(url, json={}, auth=auth, timeout=20).status_code)
print(json.dumps(found))
"""


def test_a_neighbour_without_credentials_is_refused_inside(stack: Stack) -> None:
    """Asked from where the two can be reached at all: the stack's own network, or the host itself."""
    backend, trainer = inner_ports(stack)
    hosts = ("mlbackend", "trainer") if stack.runtime == "docker" else ("127.0.0.1", "127.0.0.1")
    wanted = [f"http://{hosts[0]}:{backend}/{path}" for path in ("predict", "setup", "webhook", "train")]
    wanted += [f"http://{hosts[1]}:{trainer}/{path}" for path in ("projects/1/rounds", "rounds/1/cancel")]
    if stack.runtime == "docker":
        command = ["compose", "--project-name", stack.name, "exec", "-T", "-e", f"ASK={json.dumps(wanted)}"]
        told = docker(stack, *command, "labelstudio", "python", "-c", ASK)
    else:
        environment = {**os.environ, "ASK": json.dumps(wanted)}
        program = [".venv/ml/bin/python", "-c", ASK]
        done = subprocess.run(
            program, cwd=stack.home, env=environment, capture_output=True, text=True, timeout=60
        )
        told = done.stdout
    answers = json.loads(told)
    assert answers.keys() == set(wanted)
    assert {status for statuses in answers.values() for status in statuses} == {401}


def test_a_login_is_needed_token_by_token(stack: Stack) -> None:
    for token in ("", "0" * 40, stack.env()["API_TOKEN"][:-1]):
        headers = {"Authorization": f"Token {token}"}
        assert requests.get(f"{stack.url}/api/projects", headers=headers, timeout=30).status_code == 401


@pytest.fixture
def former(stack: Stack) -> dict[str, str]:
    """The secrets before they are rotated."""
    return stack.env()


def test_rotated_secrets_are_in_force_and_the_former_are_refused(
    stack: Stack, former: dict[str, str]
) -> None:
    tasks, unlabelled = stack.studio().count_tasks(1), stack.studio().count_tasks(1, UNLABELLED)
    output = stack.run("rotate-secrets", timeout=600)
    after = stack.env()
    assert not [name for name in SECRETS if after[name] in output], "make says no secret"
    assert {name for name in SECRETS if after[name] == former[name]} == {"ADMIN_PASSWORD"}
    refused = requests.get(
        f"{stack.url}/api/projects", headers={"Authorization": f"Token {former['API_TOKEN']}"}, timeout=30
    )
    assert refused.status_code == 401
    studio = stack.studio()
    assert (studio.count_tasks(1), studio.count_tasks(1, UNLABELLED)) == (tasks, unlabelled), (
        "no data is lost"
    )
    wait_for("the backend under its new password", lambda: connected(stack), 60)
    for environment, command in processes(stack):
        assert shown(stack, environment + command) == []
    if stack.runtime == "docker":
        assert all(
            not [n for n in SECRETS if former[n] in json.dumps(row)] for row in containers(stack).values()
        )
    assert "v0000" in stack.run("models"), "the trainer speaks to Label Studio and to the backend"


def connected(stack: Stack) -> bool:
    return [backend["state"] for backend in stack.studio().backends(1)] == ["CO"]


def test_a_lost_half_of_a_rotation_is_made_up_for(stack: Stack) -> None:
    """As after a kill between .env and the restart: .env is new, the services are not; `make up` heals."""
    fresh = secrets.token_hex(32)
    text = (stack.home / ".env").read_text()
    (stack.home / ".env").write_text(re.sub(r"(?m)^DASHBOARD_SECRET=.*$", f"DASHBOARD_SECRET={fresh}", text))
    stack.run("up", timeout=600)
    assert (stack.home / "volumes/run/secrets/DASHBOARD_SECRET").read_text() == fresh
    assert stack.env()["SECRETS_STAMP"] not in text
    if stack.runtime == "docker":
        labels = {
            containers(stack)[service]["Config"]["Labels"]["labelloop.secrets"]
            for service, held in HELD.items()
            if held
        }
        assert labels == {stack.env()["SECRETS_STAMP"]}
        told = docker(
            stack,
            "compose",
            "--project-name",
            stack.name,
            "exec",
            "-T",
            "trainer",
            "cat",
            "/run/secrets/DASHBOARD_SECRET",
        )
        assert told == fresh
