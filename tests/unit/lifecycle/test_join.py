"""CLUSTER, `make join` and `make leave` up to Ray itself: what is refused, and what is written where."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.cluster_node import Node
from labelloop.findings import OK, PROBLEM, WARNING
from labelloop.join_file import JoinFile, Mark
from lifecycle.console import Failure
from lifecycle.doctor import cluster, doctor
from lifecycle.home import Home
from lifecycle.runtime import supervisord
from lifecycle.runtime.cluster import total
from lifecycle.runtime.host_environment import environment
from lifecycle.settings import env_file, known, settings
from lifecycle.settings.settings import Settings
from lifecycle.verbs import join, rotate, table

HEAD = Node("10.0.0.5", "big", True, True, 8, 2, 64e9, "0a1b", 1795979531.0, "alive")
OTHER = replace(HEAD, address="10.0.0.6", name="small", is_head=False, is_here=False, cores=1, gpus=0)
FILE = JoinFile("10.0.0.5:6379", "token", "authority", "key", "0a1b2c", "mark")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLUSTER", "spark"),
        ("CLUSTER_BIND", "0.0.0.0"),
        ("CLUSTER_BIND", "127.0.0.1"),
        ("CLUSTER_BIND", "big.lan"),
        ("CLUSTER_PORT", "80"),
    ],
)
def test_an_impossible_setting_is_refused(home: Home, name: str, value: str) -> None:
    assert known.problem(home, name, value)
    with pytest.raises(Failure, match=name):
        settings.check(home, {name: value})


def test_as_shipped_nothing_of_a_cluster_is_there(home: Home) -> None:
    settings.complete(home, host_runtime=True, accelerator="cpu")
    found = settings.load(home)
    assert not found.in_cluster and "cluster" not in found["COMPOSE_FILE"]
    secured = ("RAY_AUTH", "RAY_TLS", "RAY_USE_TLS")
    assert not [name for name in environment(home, found) if name.startswith(secured)]
    assert "cluster" not in supervisord.config(home, found, Path("/tmp/s"))
    cluster.check(found, "docker", running=False)
    assert list(cluster.findings(home, found, None)) == []  # type: ignore[arg-type]


def test_a_head_gets_its_files_and_programs(home: Home) -> None:
    settings.keep(home, {"CLUSTER": "ray"})
    settings.complete(home, host_runtime=False, accelerator="cpu")
    found = settings.load(home)
    assert found["COMPOSE_FILE"] == "docker-compose.yml:compose/cluster.yml"
    assert found["CLUSTER_CODE"] == settings.code_version(home)
    settings.keep(home, {"CLUSTER_BIND": "192.0.2.10", "BIND": "192.0.2.10"})
    settings.complete(home, host_runtime=False, accelerator="cpu")
    found = settings.load(home)
    assert found["COMPOSE_FILE"].endswith("compose/cluster.yml:compose/cluster-hosts.yml")
    assert found["CLUSTER_GATEWAY"] == found["SUBNET"].replace(".0/24", ".1")
    assert found["CLUSTER_STUDIO"] == "192.0.2.10"
    programs = environment(home, found)
    assert programs["RAY_USE_TLS"] == "1" and programs["RAY_AUTH_MODE"] == "token"
    assert "CLUSTER_TOKEN" not in programs
    assert "supervisor/cluster/*.conf" in supervisord.config(home, found, Path("/tmp/s"))


def test_a_machine_that_has_joined_runs_its_node_alone(home: Home) -> None:
    home.env_file.write_text("CLUSTER_HEAD=10.0.0.5:6379\n")
    settings.complete(home, host_runtime=False, accelerator="cuda")
    found = settings.load(home)
    assert found["COMPOSE_FILE"].split(":")[-2:] == ["compose/worker.yml", "compose/worker-gpu.yml"]
    written = supervisord.config(home, found, Path("/tmp/s"))
    assert written.rstrip().endswith(f"files={home.root}/configs/supervisor/worker/*.conf")
    with pytest.raises(Failure, match=r"joined the cluster of 10.0.0.5:6379.*`make leave`"):
        cluster.check(found, "docker", running=False)


@pytest.mark.parametrize(
    ("given", "runtime", "words"),
    [
        ({"CLUSTER_BIND": "10.0.0.5"}, "docker", "CLUSTER=ray"),
        ({"CLUSTER": "ray", "CLUSTER_BIND": "192.0.2.77"}, "docker", "no address of this host"),
        ({"CLUSTER": "ray", "CLUSTER_BIND": "127.0.0.1", "BACKENDS": "2"}, "docker", "BACKENDS=1"),
    ],
)
def test_what_can_not_be_is_refused_with_the_way_out(given: dict[str, str], runtime: str, words: str) -> None:
    with pytest.raises(Failure, match=words):
        cluster.check(Settings(given), runtime, running=False)


def test_a_port_that_is_taken_is_told_unless_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "port_is_free", lambda address, port: False)
    with pytest.raises(Failure, match="port 7000.*CLUSTER_PORT=7200"):
        cluster.check(Settings({"CLUSTER": "ray", "CLUSTER_PORT": "7000"}), "host", running=False)
    cluster.check(Settings({"CLUSTER": "ray"}), "host", running=True)
    cluster.check(Settings({"CLUSTER": "ray"}), "docker", running=False)


def test_another_version_is_refused_and_both_are_named(home: Home) -> None:
    (home.root / "images/trainer").mkdir(parents=True)
    ours = settings.code_version(home)
    join.check_version(home, replace(FILE, version=ours))
    (home.root / "images/trainer/new.py").write_text("changed")
    with pytest.raises(Failure) as refused:
        join.check_version(home, replace(FILE, version=ours))
    assert ours in refused.value.text and settings.code_version(home) in refused.value.text
    assert "git checkout" in refused.value.do


def test_other_volumes_and_another_time_are_refused(home: Home) -> None:
    with pytest.raises(Failure, match=r"can't be read.*several-machines.md"):
        join.check_volumes(home, FILE)
    home.cluster_mark.parent.mkdir(parents=True)
    for mark, words in (
        (Mark("another", time.time()), "another, of another head"),
        (Mark("mark", time.time() + 600), "behind the head's"),
        (Mark("mark", time.time() - 600), "ahead of the head's"),
    ):
        home.cluster_mark.write_text(mark.text())
        with pytest.raises(Failure, match=words):
            join.check_volumes(home, FILE)
    home.cluster_mark.write_text(Mark("mark", time.time()).text())
    join.check_volumes(home, FILE)


def test_the_heads_file_is_asked_for_and_its_own_volumes_are_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"no TOKEN_FILE.*join\.json"):
        join.join(home, {})
    with pytest.raises(Failure, match=r"no .*nowhere"):
        join.join(home, {"TOKEN_FILE": str(tmp_path / "nowhere")})
    given = tmp_path / "given"
    given.write_text("{}")
    with pytest.raises(Failure, match="no file that a head wrote"):
        join.join(home, {"TOKEN_FILE": str(given)})
    home.cluster.mkdir(parents=True)
    home.join_file.write_text(FILE.text())
    with pytest.raises(Failure, match="the head's as a whole"):
        join.join(home, {"TOKEN_FILE": str(home.join_file)})
    assert not home.env_file.exists(), "nothing is changed"


def test_who_is_in_no_cluster_can_not_leave_one(home: Home) -> None:
    with pytest.raises(Failure, match="in no cluster"):
        join.leave(home, {})
    home.env_file.write_text("CLUSTER=ray\n")
    with pytest.raises(Failure, match="a cluster's head.*`make up CLUSTER=none`"):
        join.leave(home, {})


def test_a_rotation_makes_the_former_file_useless(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        def states(self) -> dict[str, str]:
            return {}

    monkeypatch.setattr(rotate, "running_stack", lambda home, settings: Stopped())
    home.env_file.write_text("CLUSTER=ray\nCLUSTER_TOKEN=former\n")
    home.cluster.mkdir(parents=True)
    (home.cluster / "ca.key").write_text("former")
    rotate.rotate(home, {})
    assert env_file.read(home.env_file)["CLUSTER_TOKEN"] != "former" and not home.cluster.exists()


def test_lost_nodes_and_other_versions_are_found() -> None:
    assert [finding.level for finding in cluster.of_nodes([HEAD, OTHER])] == [OK]
    changed = replace(OTHER, version="ffff")
    [_, other] = cluster.of_nodes([HEAD, changed])
    assert other.level == PROBLEM and "ffff" in other.text and "0a1b" in other.text
    [_, lost] = cluster.of_nodes([HEAD, replace(OTHER, state="lost")])
    assert lost.level == WARNING and "10.0.0.6 is lost" in lost.text
    assert [finding.level for finding in cluster.of_nodes([HEAD, replace(OTHER, state="left")])] == [OK]
    [none] = cluster.of_nodes([replace(HEAD, state="lost")])
    assert none.level == PROBLEM


def test_a_node_in_words() -> None:
    assert HEAD.brings == "8 cores, 2 GPUs, 64 GB" and OTHER.brings == "1 core, 64 GB"
    assert HEAD.told.startswith("the head, big: 8 cores") and "version 0a1b; since 2026-" in HEAD.told
    assert "lost; it was here from" in replace(OTHER, state="lost").told
    assert total([HEAD, OTHER, replace(OTHER, state="lost")]) == "2 machines, 9 cores, 2 GPUs"


class _Node:
    """A stack that is but a machine's node."""

    def __init__(self, state: str) -> None:
        self._state = state

    def states(self) -> dict[str, str]:
        return {"worker": self._state} if self._state else {}

    def complaint(self, service: str) -> str:
        return "the head is away"


@pytest.mark.parametrize(
    ("state", "level", "words"),
    [
        ("healthy", OK, "healthy"),
        ("unhealthy", PROBLEM, "unhealthy: the head is away"),
        ("", PROBLEM, "not there: its node does not run"),
    ],
)
def test_the_doctor_looks_at_a_joined_machines_node_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch, state: str, level: str, words: str
) -> None:
    home.env_file.write_text("CLUSTER_HEAD=10.0.0.5:6379\nRUNTIME=host\n")
    monkeypatch.setattr(doctor, "HostStack", lambda home, settings: _Node(state))
    monkeypatch.setattr(doctor, "_runtime", lambda home, settings, refusal: "host")
    monkeypatch.setattr(cluster, "nodes", lambda home, settings, stack: [HEAD, OTHER])
    found = {finding.name: finding for finding in doctor.examine(home)}
    assert found["worker"].level == level and words in found["worker"].text
    assert found["cluster"].level == OK
    assert not {"loop", "project", "trainer", "backups", "ports"} & found.keys()


@pytest.mark.parametrize("verb", ["reset", "restore", "upgrade", "rotate-secrets", "up"])
def test_a_machine_that_trains_for_another_keeps_its_hands_off_that_ones_state(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(home.root)
    home.env_file.write_text("CLUSTER_HEAD=10.0.0.5:6379\nCLUSTER_TOKEN=theirs\n")
    assert table.main([verb], home.root) != 0
    assert "has joined the cluster of 10.0.0.5:6379" in capsys.readouterr().err
    home.env_file.write_text("")  # it has left, but the head's folders are mounted yet
    home.cluster_mark.parent.mkdir(parents=True)
    home.cluster_mark.write_text(Mark("theirs", time.time()).text())
    assert table.main([verb], home.root) != 0
    assert "another machine's stack" in capsys.readouterr().err


def test_a_stacks_own_state_and_a_dead_heads_are_its_own(home: Home) -> None:
    cluster.check_own(home, Settings({}))
    home.cluster_mark.parent.mkdir(parents=True)
    home.cluster_mark.write_text(Mark("mark", time.time() - 600).text())
    cluster.check_own(home, Settings({}))
    home.cluster_mark.write_text(Mark("mark", time.time()).text())
    cluster.check_own(home, Settings({"CLUSTER": "ray"}))
    with pytest.raises(Failure, match="another machine's stack"):
        cluster.check_own(home, Settings({}))
    home.cluster.mkdir(parents=True)
    home.join_file.write_text(FILE.text())
    cluster.check_own(home, Settings({}))


def test_a_gpu_that_a_head_without_one_can_not_use_is_told() -> None:
    [_, idle] = cluster.of_nodes([replace(HEAD, gpus=0), replace(OTHER, gpus=1)])
    assert idle.level == WARNING and "small stays idle" in idle.text


def test_who_leaves_forgets_the_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def is_there(self) -> bool:
            return False

    monkeypatch.setattr(join, "running_stack", lambda home, settings: Gone())
    home.env_file.write_text("CLUSTER_HEAD=10.0.0.5:6379\nCLUSTER_TOKEN=theirs\n")
    home.secrets.mkdir(parents=True)
    (home.secrets / "CLUSTER_TOKEN").write_text("theirs")
    join.leave(home, {})
    assert "theirs" not in home.env_file.read_text() and not list(home.secrets.iterdir())
