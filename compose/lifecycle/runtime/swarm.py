"""Docker's swarm, asked through this node: its nodes, and a stack's services and tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.engine import FOLDER_LABEL
from lifecycle.runtime.stack_file import SPEC_LABEL
from lifecycle.shell import answer, ask

BACKEND_LABEL = "labelloop.backend"
"""Of a node: true where ML backends may run, on what the node sees of the checkout at the same path."""
NAMESPACE = "com.docker.stack.namespace"
SERVICE = "com.docker.swarm.service.name"
RUNNING = "running"


@dataclass(frozen=True)
class Task:
    """One try to run a service's container. state: Docker's word. wanted: whether it is to run. error: why it
    ended, or why no node takes it. spec: see SPEC_LABEL.
    """

    id: str
    service: str
    node: str
    state: str
    wanted: bool
    error: str
    spec: str


@dataclass(frozen=True)
class Service:
    """name: without the stack's. updating: what Docker says of its last update: updating, paused, ….
    why: and its reason.
    """

    name: str
    replicas: int
    spec: str
    folder: str
    updating: str
    why: str


def this_node() -> str:
    """The id of this node.

    Raises:
        Failure: its engine is no manager of a swarm.
    """
    told = engine.engine_info().get("Swarm") or {}
    if not told.get("ControlAvailable"):
        worker = told.get("LocalNodeState") == "active"
        raise Failure(
            "the swarm",
            found="a worker" if worker else f"an engine that is in none ({told.get('LocalNodeState')})",
            needed="a manager, which alone may say what runs where",
            do="`docker node promote` on a manager makes it one."
            if worker
            else "`docker swarm init --advertise-addr ADDRESS` makes one of it; docs/how-to/swarm.md.",
        )
    return str(told["NodeID"])


def heartbeat_s() -> Optional[float]:
    """How often a node has to say that it is there. None where this node is no manager."""
    cluster = (engine.engine_info().get("Swarm") or {}).get("Cluster") or {}
    period = ((cluster.get("Spec") or {}).get("Dispatcher") or {}).get("HeartbeatPeriod")
    return None if period is None else float(period) / 1e9


def nodes_with(label: str) -> dict[str, str]:
    """The ids of the nodes that have it as true → their host names.

    Raises:
        Failure: no manager answers, or not for all nodes; one that was missed would lose its backends.
    """
    ids = ask(["docker", "node", "ls", "--quiet"], seconds=engine.PROBE_SECONDS).split()
    found = _inspected("node", ids)
    if len(found) < len(ids):
        raise Failure("the swarm's nodes", found=f"{len(found)} of {len(ids)} told", do="Try again.")
    return {
        node["ID"]: str(node["Description"].get("Hostname") or node["ID"])
        for node in found
        if (node["Spec"].get("Labels") or {}).get(label) == "true"
    }


def services(stack: str) -> list[Service]:
    """None where the engine is in no swarm.

    Raises:
        Failure: this node is a worker, who can't tell.
    """
    found = _ids(f"label={NAMESPACE}={stack}")
    if not found and _is_worker():
        this_node()
    return [_service(stack, row) for row in _inspected("service", found)]


def runs_of(folder: str) -> bool:
    """Whether anything of that checkout is deployed, whatever its stack is called, or runs on this node: the
    containers do, too, while managers can't agree, and where this node is no manager any more.
    """
    ours = f"label={FOLDER_LABEL}={folder}"
    return bool(_ids(ours) or answer(["docker", "ps", "--quiet", "--filter", ours]))


def tasks(stack: str) -> list[Task]:
    """Those that run, and the last ones that ended."""
    ids = answer(["docker", "stack", "ps", "--quiet", "--no-trunc", stack])
    names = {
        row["ID"]: row["Spec"]["Name"] for row in _inspected("service", _ids(f"label={NAMESPACE}={stack}"))
    }
    return [_task(stack, row, names) for row in _inspected("task", (ids or "").split())]


def networks(stack: str) -> list[str]:
    """The ids of those that were made for it."""
    ours = f"label={NAMESPACE}={stack}"
    return (answer(["docker", "network", "ls", "--quiet", "--filter", ours]) or "").split()


def node_name(node: str) -> str:
    return answer(["docker", "node", "inspect", "--format", "{{.Description.Hostname}}", node]) or node


def containers(stack: str, service: Optional[str] = None) -> list[dict[str, Any]]:
    """`docker inspect` of the containers that run on this node, of all services or of one."""
    ours = f"label={NAMESPACE}={stack}" if service is None else f"label={SERVICE}={stack}_{service}"
    return _inspected(
        "container", (answer(["docker", "ps", "--quiet", "--no-trunc", "--filter", ours]) or "").split()
    )


def _is_worker() -> bool:
    told = engine.engine_info().get("Swarm") or {}
    return told.get("LocalNodeState") == "active" and not told.get("ControlAvailable")


def _ids(condition: str) -> list[str]:
    """Of the services that meet it; none where this node is no manager."""
    return (answer(["docker", "service", "ls", "--quiet", "--filter", condition]) or "").split()


def _inspected(kind: str, ids: list[str]) -> list[dict[str, Any]]:
    """What is still there of them: a task or a container may end meanwhile, and with it one answer of all."""
    if not ids:
        return []
    told = answer(["docker", "inspect", "--type", kind, *ids])
    found = (
        json.loads(told) if told else [row for one in ids if len(ids) > 1 for row in _inspected(kind, [one])]
    )
    return found if isinstance(found, list) else []


def _service(stack: str, row: dict[str, Any]) -> Service:
    spec, update = row["Spec"], row.get("UpdateStatus") or {}
    return Service(
        name=spec["Name"].removeprefix(f"{stack}_"),
        replicas=int((spec.get("Mode", {}).get("Replicated") or {}).get("Replicas", 1)),
        spec=_labels(spec["TaskTemplate"]).get(SPEC_LABEL, ""),
        folder=(spec.get("Labels") or {}).get(FOLDER_LABEL, ""),
        updating=update.get("State", ""),
        why=update.get("Message", ""),
    )


def _task(stack: str, row: dict[str, Any], names: dict[str, str]) -> Task:
    return Task(
        id=row["ID"],
        service=names.get(row["ServiceID"], "").removeprefix(f"{stack}_"),
        node=row.get("NodeID", ""),
        state=row["Status"]["State"],
        wanted=row["DesiredState"] in (RUNNING, "ready"),
        error=row["Status"].get("Err", ""),
        spec=_labels(row["Spec"]).get(SPEC_LABEL, ""),
    )


def _labels(template: dict[str, Any]) -> dict[str, str]:
    return (template.get("ContainerSpec") or {}).get("Labels") or {}
