"""`make doctor` with the stack up, half up, down, and Docker broken: findings, never a traceback."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from labelloop import layout
from labelloop.findings import LEVELS, Finding, ok
from lifecycle import engine
from lifecycle.backup.service import Status
from lifecycle.console import Failure
from lifecycle.doctor import checks, doctor, host_findings
from lifecycle.doctor.doctor import examine
from lifecycle.doctor.findings import bounded
from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import env_file, known
from lifecycle.settings.network import free_port
from lifecycle.settings.settings import Settings
from lifecycle.shell import ask

WELL = {"labelstudio": "healthy", "trainer": "healthy", "mlbackend": "healthy"}
TOLD = [{"level": "ok", "name": "round", "text": "none yet", "fix": "", "command": ""}]


class Stack(HostStack):
    """A host stack whose services are in `now`; the trainer's findings are `told`."""

    now: dict[str, str] = {}
    told: str = ""

    def is_running(self) -> bool:
        return bool(self.now)

    def holds_ports(self) -> bool:
        return bool(self.now)

    def states(self) -> dict[str, str]:
        return dict(self.now)

    def complaint(self, service: str) -> str:
        return f"{service} gave up"

    def ask(self, arguments: Any, seconds: float) -> str:
        return self.told


Look = Callable[[], dict[str, Finding]]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> type[Stack]:
    monkeypatch.setattr(Stack, "now", dict(WELL))
    monkeypatch.setattr(Stack, "told", json.dumps(TOLD))
    monkeypatch.setattr(doctor, "HostStack", Stack)
    return Stack


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "engine_info", dict)
    refusal = engine.NoEngine("Cannot connect to the Docker daemon. Is the docker daemon running?")
    monkeypatch.setattr(engine, "trouble", lambda: refusal)
    monkeypatch.setattr(engine, "gpu_architecture", lambda: None)
    monkeypatch.setattr(engine, "containers", lambda project: [])
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.fixture
def good(home: Home, stack: type[Stack]) -> Home:
    """A checkout as `make up` leaves it, on the host runtime."""
    shutil.copy(home.root / "configs/labels/face.xml", home.root / "configs/labels/everyday.xml")
    for name in layout.VOLUMES:
        (home.volumes / name).mkdir(parents=True)
    for name in ("labelstudio", "backups"):
        (home.volumes / name).chmod(0o700)
    first = free_port(20000)
    values = {"PORT": str(first), "DASHBOARD_PORT": str(free_port(first + 1)), "COMPOSE_ACCELERATOR": "cpu"}
    env_file.update(home.env_file, values, header="#", mode=0o600)
    home.secrets.mkdir(parents=True, mode=0o700)
    for name in known.ALL_SECRETS:
        (home.secrets / name).write_text("x")
        (home.secrets / name).chmod(0o400)
    home.provisioned.write_text(json.dumps({"project": 1, "done": True}))
    return home


@pytest.fixture
def look(good: Home) -> Look:
    """By name, the worse where several have one."""
    return lambda: by_name(examine(good))


def by_name(found: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in sorted(found, key=lambda f: LEVELS.index(f.level))}


def bad(found: dict[str, Finding]) -> dict[str, Finding]:
    assert all(f.fix and f.command for f in found.values() if f.level != "ok"), found
    return {name: finding for name, finding in found.items() if finding.level != "ok"}


def test_a_good_stack(good: Home, look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    assert not bad(look())
    doctor.doctor(good, {})
    said = capsys.readouterr().out
    assert "ok       mlbackend: healthy" in said and "ok       round: none yet" in said
    assert "No problems, 0 warnings." in said


def test_a_name_in_admins_that_nobody_has(good: Home, look: Look) -> None:
    good.provisioned.write_text(json.dumps({"project": 1, "done": True, "unknown_admins": ["eve@x.org"]}))
    found = bad(look())
    assert set(found) == {"admins"} and found["admins"].level == "warning"
    assert "eve@x.org" in found["admins"].text and found["admins"].command == "make up ADMINS=…"


def test_a_service_that_is_down_is_a_problem_with_its_last_words(
    good: Home, look: Look, stack: type[Stack], capsys: pytest.CaptureFixture[str]
) -> None:
    stack.now["mlbackend"] = "unhealthy"
    found = bad(look())
    assert list(found) == ["mlbackend"]
    with pytest.raises(Failure, match="1 problems") as raised:
        doctor.doctor(good, {})
    assert raised.value.status == 1
    said = capsys.readouterr().out
    assert "PROBLEM  mlbackend: unhealthy: mlbackend gave up" in said and "$ make up" in said


def test_a_stack_that_is_down_is_no_problem(good: Home, look: Look, stack: type[Stack]) -> None:
    stack.now.clear()
    found = bad(look())
    assert {name: finding.level for name, finding in found.items()} == {
        "services": "warning",
        "loop": "warning",
    }
    doctor.doctor(good, {})


def test_json(good: Home, capsys: pytest.CaptureFixture[str], stack: type[Stack]) -> None:
    stack.now["trainer"] = "not running"
    with pytest.raises(Failure):
        doctor.doctor(good, {"JSON": "1"})
    rows = json.loads(capsys.readouterr().out)
    assert {"level", "name", "text", "fix", "command"} == set(rows[0])
    assert [row["name"] for row in rows if row["level"] == "problem"] == ["trainer"]


def test_what_the_trainer_finds_is_passed_on(look: Look, stack: type[Stack]) -> None:
    row = {
        "level": "warning",
        "name": "images",
        "text": "one",
        "fix": "Replace it.",
        "command": "make import",
    }
    stack.told = json.dumps([row])
    assert bad(look())["images"] == Finding(**row)


@pytest.mark.parametrize("told", ["", "Traceback", "[1]", '[{"level": "odd", "name": "", "text": ""}]'])
def test_a_trainer_that_talks_nonsense_is_a_finding(look: Look, stack: type[Stack], told: str) -> None:
    stack.told = told
    assert bad(look())["loop"].level == "problem"


def test_docker_that_does_not_answer(look: Look, monkeypatch: pytest.MonkeyPatch, stack: type[Stack]) -> None:
    stack.now.clear()
    monkeypatch.setenv("RUNTIME", "docker")
    found = bad(look())["engine"]
    assert found.level == "problem" and found.command == "sudo systemctl start docker"
    monkeypatch.setenv("RUNTIME", "auto")
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/docker")
    assert bad(look())["engine"].level == "warning"


def test_docker_that_this_user_may_not_ask(
    look: Look, monkeypatch: pytest.MonkeyPatch, stack: type[Stack]
) -> None:
    stack.now.clear()
    monkeypatch.setattr(engine, "trouble", lambda: engine.NoEngine("permission denied on the socket"))
    found = bad(look())["engine"]
    assert found.level == "problem" and found.command == "sudo usermod -aG docker $USER"


def test_docker_that_is_down_under_a_stack_of_its_own(good: Home, look: Look, stack: type[Stack]) -> None:
    stack.now.clear()
    env_file.update(good.env_file, {known.LAST_RUNTIME: "docker"}, header="#", mode=0o600)
    found = bad(look())
    assert found["engine"].level == "problem" and "services" not in found


def test_docker_that_breaks_the_look_itself(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, Any]:
        raise ValueError("rubbish")

    monkeypatch.setattr(engine, "engine_info", broken)
    assert "ValueError: rubbish" in bad(look())["engine"].text


def test_an_engine_and_a_compose_that_are_too_old(
    look: Look, monkeypatch: pytest.MonkeyPatch, stack: type[Stack]
) -> None:
    stack.now.clear()
    monkeypatch.setenv("RUNTIME", "docker")
    monkeypatch.setattr(engine, "engine_info", lambda: {"ServerVersion": "19.03.1"})
    monkeypatch.setattr(engine, "compose_version", lambda: None)
    found = bad(look())
    assert "19.03.1" in found["engine"].text and "found none" in found["compose"].text


@pytest.mark.parametrize(
    "line, where",
    [("PORT=none", "PORT"), ("RETRAIN_EVERY=often", "RETRAIN_EVERY"), ("nonsense", ", line 5")],
)
def test_settings_that_are_wrong(good: Home, look: Look, line: str, where: str) -> None:
    with good.env_file.open("a") as file:
        file.write(line + "\n")
    found = bad(look())["settings"]
    assert found.level == "problem" and where in found.text


def test_modes(good: Home, look: Look) -> None:
    good.env_file.chmod(0o644)
    (good.volumes / "labelstudio").chmod(0o755)
    good.secrets.chmod(0o755)
    found = bad(look())
    assert found[".env"].command == f"chmod 600 {good.env_file}"
    assert found["volumes"].command == f"chmod 700 {good.volumes / 'labelstudio'}"
    assert found["secrets"].command == f"chmod -R go= {good.secrets}"
    assert {finding.level for finding in found.values()} == {"problem"}


def test_files_of_the_services_that_are_anothers(good: Home) -> None:
    values = Settings({"PUID": str(os.geteuid() + 1), "PGID": "7"})
    [owned] = bad({"volumes": next(host_findings.volumes(good, values, "docker"))}).values()
    assert owned.command.startswith(f"sudo chown -R {values['PUID']}:7 ")
    found = [f for f in host_findings.secrets(good, values, "docker") if f.level == "problem"]
    assert "not readable by user" in found[0].text


def test_a_machine_that_has_joined_needs_what_it_shares_alone(good: Home) -> None:
    values = Settings({"CLUSTER_HEAD": "192.0.2.1:6379"})
    (good.volumes / "labelstudio/media/upload").mkdir(parents=True)
    (good.volumes / "labelstudio").chmod(0o755)  # the folder that its share is mounted in
    shutil.rmtree(good.volumes / "backups")
    assert [finding.level for finding in host_findings.volumes(good, values, "host")] == ["ok"]
    shutil.rmtree(good.volumes / "models")
    [missing] = host_findings.volumes(good, values, "host")
    assert (missing.level, missing.command) == ("problem", "make join") and "models" in missing.text


def test_a_missing_secret(good: Home, look: Look) -> None:
    (good.secrets / "API_TOKEN").unlink()
    assert "API_TOKEN" in bad(look())["secrets"].text


def test_files_of_the_future(good: Home, look: Look) -> None:
    late = good.volumes / "rounds" / "00001"
    late.mkdir()
    os.utime(late, (time.time() + 3600,) * 2)
    found = bad(look())["clock"]
    assert found.level == "warning" and "volumes/rounds/00001" in found.text


def test_a_port_that_another_program_has(
    look: Look, stack: type[Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.now.clear()
    monkeypatch.setattr(checks, "port_is_free", lambda address, port: False)
    found = bad(look())["ports"]
    assert found.level == "problem" and found.command.startswith("make up PORT=")


def test_a_full_disk(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "RUN_GB", 10**9)
    assert bad(look())["disk"].level == "problem"


def test_a_gpu_that_is_asked_for_and_missing(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATOR", "cuda")
    assert bad(look())["gpu"].level == "problem"
    monkeypatch.setenv("ACCELERATOR", "auto")
    monkeypatch.setattr(engine, "gpu_architecture", lambda: "8.6")
    assert bad(look())["gpu"].text == "compute capability 8.6, unused"


def test_backups_that_fail_or_were_never_made(
    good: Home, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    good.database.write_bytes(b"")
    assert bad(look())["backups"].level == "warning"
    failing = Status(24, error="no room", since="2026-11-01T00:00:00Z")
    monkeypatch.setattr(host_findings, "read_status", lambda home: failing)
    found = bad(look())["backups"]
    assert found.level == "problem" and "no room" in found.text
    assert "exited" in next(host_findings.backups(good, "exited")).text


def test_a_label_config_that_was_refused(good: Home, look: Look) -> None:
    good.provisioned.write_text(json.dumps({"problem": "would orphan annotations"}))
    assert "would orphan" in bad(look())["project"].text
    good.provisioned.write_text(json.dumps({"project": 1, "done": False, "waiting": "API_TOKEN was reset"}))
    found = bad(look())["project"]
    assert found.level == "problem" and "API_TOKEN was reset" in found.text
    good.provisioned.write_text("{")
    assert "could not be looked at" in bad(look())["project"].text


def test_a_clone_that_was_never_started(home: Home, stack: type[Stack]) -> None:
    stack.now.clear()
    shutil.copy(home.root / "configs/labels/face.xml", home.root / "configs/labels/everyday.xml")
    found = bad(by_name(examine(home)))
    assert {finding.level for finding in found.values()} == {"warning"}, found


def test_a_look_that_hangs_is_a_finding_beside_what_it_found() -> None:
    def hanging() -> Iterator[Finding]:
        yield ok("slow", "begun")
        time.sleep(30)

    started = time.monotonic()
    found = bounded("slow", hanging, 0.1)
    assert time.monotonic() - started < 20
    assert [finding.level for finding in found] == ["ok", "problem"]
    assert "within 0 s" in found[1].text


@pytest.mark.parametrize(
    "program, why",
    [
        ("import sys; print('out'); sys.exit('error: no token')", "ended with 1: error: no token"),
        ("import time; time.sleep(9)", "did not answer within 0 s"),
    ],
)
def test_asking_a_program_that_fails_says_its_last_words(home: Home, program: str, why: str) -> None:
    with pytest.raises(Failure, match=why):
        ask([sys.executable, "-c", program], cwd=home.root, seconds=0.3 if "sleep" in program else 20)
    with pytest.raises(Failure, match="could not start"):
        ask(["./no-such-program"], cwd=home.root, seconds=1)
    assert ask([sys.executable, "-c", "print('[]')"], cwd=home.root, seconds=20) == "[]\n"


def test_a_containers_complaint_is_its_health_checks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    health = {"Log": [{"Output": "before"}, {"Output": "GET /health: no answer\n"}]}
    container = {
        "Config": {"Labels": {"com.docker.compose.service": "mlbackend"}},
        "State": {"Running": True, "Health": health},
    }
    monkeypatch.setattr(engine, "containers", lambda project: [container])
    monkeypatch.setattr(DockerStack, "last_words", lambda stack, service: "a\nKilled")
    stack = DockerStack(home, "labelloop")
    assert stack.complaint("mlbackend") == "GET /health: no answer"
    container["State"] = {"Running": False, "Health": health}
    assert stack.complaint("mlbackend") == "Killed", "what it said while it ran is old"
