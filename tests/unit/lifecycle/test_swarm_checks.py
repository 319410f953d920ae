"""What `make stack` and `make doctor` say of the swarm, told by a docker that the tests write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labelloop.findings import OK, PROBLEM, WARNING
from lifecycle.console import Failure
from lifecycle.doctor import swarm_checks
from lifecycle.engine import FOLDER_LABEL
from lifecycle.home import Home
from lifecycle.runtime import swarm
from lifecycle.runtime.swarm_stack import SwarmStack
from lifecycle.settings.settings import Settings

OPEN = Settings({"BIND": "0.0.0.0"})


def manager(heartbeat_s: int = 30) -> dict[str, Any]:
    cluster = {"Spec": {"Dispatcher": {"HeartbeatPeriod": heartbeat_s * 10**9}}}
    return {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True, "Cluster": cluster}


MANAGER = manager()
Tell = Callable[..., None]


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"ID": name, "Spec": {"Labels": labels}, "Description": {"Hostname": f"host-{name}"}}


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Has docker tell of a swarm as its engine knows it."""

    def says(
        told: dict[str, Any] = MANAGER,
        nodes: tuple[dict[str, Any], ...] = (),
        folder: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        labels = {FOLDER_LABEL: folder}
        service = {"Spec": {"Name": "labelloop_trainer", "Labels": labels, "TaskTemplate": {}}}
        answers = {
            "info": {"Swarm": told, "SecurityOptions": options},
            "nodes": nodes,
            "services": [service] if folder else [],
        }
        for name, answer in answers.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(answer))
        (tmp_path / "docker").write_text(
            f"""#!/bin/sh
case "$*" in
  info*) cat {tmp_path}/info.json ;;
  "node ls"*) echo "{" ".join(each["ID"] for each in nodes)}" ;;
  "inspect --type node"*) cat {tmp_path}/nodes.json ;;
  "service ls"*) echo "{"s1" if folder else ""}" ;;
  "inspect --type service"*) cat {tmp_path}/services.json ;;
  *) exit 1 ;;
esac
"""
        )
        (tmp_path / "docker").chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return says


@pytest.mark.parametrize(
    ("told", "found", "do"),
    [
        ({"LocalNodeState": "inactive"}, "in none", "docker swarm init"),
        ({}, "in none", "docker swarm init"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "a worker", "docker node promote"),
    ],
)
def test_only_a_manager_deploys(home: Home, tell: Tell, told: dict[str, Any], found: str, do: str) -> None:
    tell(told)
    with pytest.raises(Failure, match=f"{found}.*needed a manager") as raised:
        swarm_checks.check(home, OPEN)
    assert do in raised.value.do
    [finding, *_] = swarm_checks.findings(home, OPEN)
    assert finding.level == PROBLEM and found in finding.text


def test_a_worker_does_not_say_that_nothing_runs(home: Home, tell: Tell) -> None:
    stack = SwarmStack(home, OPEN)
    tell({"LocalNodeState": "inactive"})
    assert stack.states() == {}
    tell({"LocalNodeState": "active", "ControlAvailable": False})
    for ask in (stack.is_there, stack.states):
        with pytest.raises(Failure, match="found a worker, needed a manager"):
            ask()


@pytest.mark.parametrize("bind", ["127.0.0.1", "192.0.2.10", ""])
def test_one_address_is_refused_rather_than_made_all(home: Home, tell: Tell, bind: str) -> None:
    tell()
    with pytest.raises(Failure, match="needed 0.0.0.0, since Swarm publishes on all") as raised:
        swarm_checks.check(home, Settings({"BIND": bind}))
    assert "`make stack BIND=0.0.0.0`" in raised.value.do


def test_a_cluster_that_others_join_is_refused(home: Home, tell: Tell) -> None:
    tell()
    swarm_checks.check(home, OPEN | {"CLUSTER": "ray"})
    with pytest.raises(Failure, match="CLUSTER_BIND: found 192.0.2.10") as raised:
        swarm_checks.check(home, OPEN | {"CLUSTER": "ray", "CLUSTER_BIND": "192.0.2.10"})
    assert "`make stack CLUSTER_BIND=`" in raised.value.do
    swarm_checks.check(home, OPEN | {"CLUSTER": "none", "CLUSTER_BIND": "192.0.2.10"})


def test_a_stack_of_another_checkout_is_not_replaced(home: Home, tell: Tell) -> None:
    tell(folder="/another/checkout")
    with pytest.raises(
        Failure, match="the name labelloop: found a stack of that name from /another/checkout"
    ):
        swarm_checks.check(home, OPEN)
    tell(folder=str(home.root))
    swarm_checks.check(home, OPEN)


def test_where_the_backends_go_is_told(home: Home, tell: Tell) -> None:
    here = node("n1")
    tell(nodes=(here,))
    assert "all on this node" in swarm_checks.in_words()
    tell(nodes=(here, node("n2", **{swarm.BACKEND_LABEL: "true"}), node("n3", **{swarm.BACKEND_LABEL: "no"})))
    assert swarm_checks.in_words().startswith("ML backends on host-n2 (labelloop.backend=true)")


def test_nodes_that_nobody_tells_of_are_not_taken_for_nodes_without_the_label(
    home: Home, tell: Tell, tmp_path: Path
) -> None:
    """Their backends would move to this node without a word."""
    tell(nodes=(node("n1"), node("n2")))
    (tmp_path / "nodes.json").write_text(json.dumps([node("n1")]))
    with pytest.raises(Failure, match="found 1 of 2 told"):
        swarm_checks.check(home, OPEN)
    told = (tmp_path / "docker").read_text()
    no_leader = '"node ls"*) echo "The swarm does not have a leader." >&2; exit 1 ;;'
    (tmp_path / "docker").write_text(told.replace("  info*)", f"  {no_leader}\n  info*)"))
    with pytest.raises(Failure, match="does not have a leader"):
        swarm_checks.check(home, OPEN)


@pytest.mark.parametrize(
    ("options", "levels"), [((), [OK, WARNING]), (("name=seccomp", "name=no-new-privileges"), [OK])]
)
def test_the_doctor_warns_of_privileges_that_swarm_cannot_forbid(
    home: Home, tell: Tell, options: tuple[str, ...], levels: list[str]
) -> None:
    tell(options=options)
    assert [finding.level for finding in swarm_checks.findings(home, OPEN)] == levels


def test_the_doctor_warns_of_a_swarm_that_takes_a_busy_node_for_lost(home: Home, tell: Tell) -> None:
    tell(manager(5), options=(swarm_checks.PRIVILEGES,))
    [_, finding] = swarm_checks.findings(home, OPEN)
    assert finding.level == WARNING and "says nothing for 15 s is taken for lost" in finding.text
    assert "`docker swarm update --dispatcher-heartbeat 30s` waits for 90 s" in finding.fix
