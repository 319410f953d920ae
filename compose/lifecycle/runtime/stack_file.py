"""What `docker stack deploy` reads, made from what Docker Compose makes of the stack's own files.

Swarm knows less than Compose. Each key of a service is taken over, put in Swarm's words, or named with what
becomes of it; one that nobody has thought of is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from lifecycle.console import Failure
from lifecycle.engine import FOLDER_LABEL

Row = dict[str, Any]

SPEC_LABEL = "labelloop.spec"
"""A hash of all else that a service is told: a task that has the service's own is of its newest form."""
MOVABLE = ("mlbackend",)
"""What may run on other nodes. All else writes what only one machine may: SQLite's files, or PostgreSQL's."""
_ROLLING = ("trainer", "mlbackend")
_TELLS_OF_ITS_WORK = ("backup",)
"""Its check fails from a backup that failed until one that did not: longer than Swarm would wait."""
_ENDLESS = 1_000_000
"""Checks that fail in a row, before Swarm ends a container that was healthy once."""
_SAME = (
    *("cap_drop", "command", "entrypoint", "environment", "image", "init", "labels"),
    *("logging", "networks", "read_only", "stop_grace_period", "stop_signal", "user"),
)
_GPU = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
# Nothing waits for another one: each asks for the others until they answer. What ends is started again.
_LEFT_OUT = ("build", "profiles", "depends_on", "restart")
_TOLD = {
    "security_opt": 'no-new-privileges, which is `"no-new-privileges": true` in each node\'s daemon.json',
    "cpu_shares": "cpu_shares, which Swarm doesn't have: all are equal where the processor is contended",
}
_GPU_TOLD = "a GPU by reservation: each node's default runtime has to give it (docs/how-to/swarm.md)"
EVERYWHERE = "0.0.0.0"
"""The address of published ports: Swarm publishes on all of a node's."""
# An image that Compose built has its project as a label, and so would a container have it, which Compose, and
# we, would then take for one of Compose's.
_NOT_COMPOSES = {"com.docker.compose.project": "", "com.docker.compose.service": ""}
_SCHEMA = "3.9"
_ALONE = "-alone"
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True)
class Places:
    """Where services go. here: the id of the node that has volumes/. backends: the label of the nodes that
    ML backends go to; None while no node has it, for the node here.
    """

    here: str
    backends: Optional[str] = None


@dataclass(frozen=True)
class StackFile:
    """content: the file. told: what Swarm does otherwise than Compose, a line for each key."""

    content: Row
    told: list[str]


def made_of(
    config: Row,
    *,
    folder: str,
    images: Mapping[str, str],
    places: Places,
    secrets_stamp: str,
    empty_secrets: Collection[str] = (),
) -> StackFile:
    """config: what `docker compose config --format json` prints. folder: the checkout's. images: service →
    the image's name on every node that it goes to. secrets_stamp: changes with any secret; Swarm's secrets
    never change, so it is in their names. empty_secrets: those that are left out, since Swarm takes none.

    Raises:
        Failure: a service has a key, or a kind of mount, that this module doesn't know.
    """
    told: dict[str, list[str]] = {}
    services = {}
    for name, service in config["services"].items():
        made, notes = _service(name, service, config["services"], empty_secrets)
        made["image"] = images[name]
        made["deploy"]["placement"] = {"constraints": [_constraint(name, places)]}
        made["deploy"]["labels"] = {FOLDER_LABEL: folder}
        made["labels"] = {**(made.get("labels") or {}), FOLDER_LABEL: folder, **_NOT_COMPOSES}
        made["labels"][SPEC_LABEL] = _hash([made, secrets_stamp])
        services[name] = made
        for note in notes:
            told.setdefault(note, []).append(name)
    wanted = {network for made in services.values() for network in made["networks"]}
    content = {
        "version": _SCHEMA,
        "services": services,
        "networks": {name: _network(name, config.get("networks") or {}) for name in sorted(wanted)},
        "secrets": {
            name: {"name": f"{config['name']}_{name}_{secrets_stamp}", "file": secret["file"]}
            for name, secret in (config.get("secrets") or {}).items()
            if name not in empty_secrets
        },
    }
    return StackFile(content, [f"{note}: {', '.join(names)}" for note, names in told.items()])


def _service(name: str, service: Row, all_services: Row, empty: Collection[str]) -> tuple[Row, list[str]]:
    """Returns: the service in Swarm's words, without image and placement, and what is otherwise."""
    left = {key: value for key, value in service.items() if value is not None and key not in _LEFT_OUT}
    made: Row = {key: left.pop(key) for key in _SAME if key in left}
    asked = left.pop("deploy", {})
    has_gpu = _reserves_gpu(name, asked)
    made["environment"] = _environment(name, service.get("environment") or {}, has_gpu)
    if check := left.pop("healthcheck", None):
        made["healthcheck"] = _health_check(name, check)
    if "network_mode" in left:
        _own_network(name, made, left.pop("network_mode"), all_services)
    made["volumes"] = [
        *(_mount(name, mount) for mount in left.pop("volumes", ())),
        *(_tmpfs(entry) for entry in left.pop("tmpfs", ())),
        *(_memory("/dev/shm", int(size)) for size in [left.pop("shm_size", 0)] if int(size)),
    ]
    secrets = [secret for secret in left.pop("secrets", ()) if secret["source"] not in empty]
    made["secrets"] = [_secret(secret, str(made["user"])) for secret in secrets]
    made["ports"] = [_port(name, port) for port in left.pop("ports", ())]
    limits = {"memory": left.pop("mem_limit", "0"), "pids": left.pop("pids_limit", 0)}
    made["deploy"] = _deploy(name, asked, {key: limit for key, limit in limits.items() if int(limit)})
    told = [text for key, text in _TOLD.items() if left.pop(key, None)] + ([_GPU_TOLD] if has_gpu else [])
    if left:
        raise _unknown(name, ", ".join(sorted(left)))
    return made, told


def _environment(name: str, given: Row, has_gpu: bool) -> Row:
    made = {**given, **(_GPU if has_gpu else {})}
    if name in _ROLLING:
        # While one is replaced there are two, which have to change versions together.
        made["BACKENDS"] = str(max(2, int(given.get("BACKENDS") or 1)))
    return made


def _health_check(name: str, asked: Row) -> Row:
    """Compose only says who is unhealthy. Swarm ends the container, and with it training or a backup under
    way, for what no new one mends: another service that is away, a full disk. So it ends backends alone.
    """
    if name in MOVABLE:
        return asked
    return {"disable": True} if name in _TELLS_OF_ITS_WORK else {**asked, "retries": _ENDLESS}


def _reserves_gpu(name: str, deploy: Row) -> bool:
    reserved = (deploy.get("resources") or {}).get("reservations") or {}
    if unknown := reserved.keys() - {"devices"}:
        raise _unknown(name, f"deploy.resources.reservations.{', '.join(sorted(unknown))}")
    return bool(reserved.get("devices"))


def _deploy(name: str, asked: Row, limits: Row) -> Row:
    """A new backend answers before the former one goes; of all else there may not be two at a time."""
    order, on_failure = ("start-first", "rollback") if name in MOVABLE else ("stop-first", "pause")
    return {
        "replicas": int(asked.get("replicas") or 1),
        # Docker's names give the containers' own addresses, as under Compose; a virtual one needs IP_VS.
        "endpoint_mode": "dnsrr",
        "restart_policy": {"condition": "any", "delay": "5s"},
        "update_config": {
            "parallelism": 1,
            "order": order,
            "failure_action": on_failure,
            "monitor": "10s",
        },
        "rollback_config": {"parallelism": 1, "order": order},
        "resources": {"limits": limits},
    }


def _constraint(name: str, places: Places) -> str:
    if name in MOVABLE and places.backends:
        return f"node.labels.{places.backends} == true"
    return f"node.id == {places.here}"


def _own_network(name: str, made: Row, mode: str, all_services: Row) -> None:
    """A network that nobody else is on, or those of the service beside which Compose puts this one."""
    kind, _, other = mode.partition(":")
    if kind == "service":
        made["networks"] = all_services[other]["networks"]
        # There it is no longer the same address.
        made["environment"] = {
            key: str(value).replace("@127.0.0.1:", f"@{other}:") for key, value in made["environment"].items()
        }
    elif mode in ("none", "bridge"):
        made["networks"] = {f"{name}{_ALONE if mode == 'none' else '-outside'}": None}
    else:
        raise _unknown(name, f"network_mode: {mode}")


def _network(name: str, asked: Row) -> Row:
    """asked: Compose's networks, which lack those that `_own_network` made."""
    wanted = asked.get(name) or {"internal": name.endswith(_ALONE)}
    made: Row = {"driver": "overlay"}
    if (wanted.get("ipam") or {}).get("config"):
        made["ipam"] = {"config": wanted["ipam"]["config"]}
    if wanted.get("internal"):
        made["internal"] = True
    return made


def _mount(name: str, mount: Row) -> Row:
    if mount["type"] != "bind":
        raise _unknown(name, f"a volume of type {mount['type']}")
    return {key: mount[key] for key in ("type", "source", "target", "read_only") if key in mount}


def _tmpfs(entry: str) -> Row:
    """Of Compose's short form, /tmp:size=1g,mode=1777. Swarm's have that mode."""
    target, _, options = entry.partition(":")
    size = next(word[5:] for word in options.split(",") if word.startswith("size="))
    return _memory(target, int(size[:-1]) * _UNITS[size[-1]])


def _memory(target: str, size: int) -> Row:
    return {"type": "tmpfs", "target": target, "tmpfs": {"size": size}}


def _secret(secret: Row, user: str) -> Row:
    uid, _, gid = user.partition(":")
    return {"source": secret["source"], "target": secret["source"], "uid": uid, "gid": gid, "mode": 0o400}


def _port(name: str, port: Row) -> Row:
    """On the node itself, where the browser's address is seen; Swarm's own mesh needs IP_VS and hides it.

    Raises:
        Failure: it is for one address alone, and would be open to all.
    """
    address, published = port.get("host_ip") or EVERYWHERE, str(port["published"])
    if address != EVERYWHERE or not published.isdigit():
        raise _unknown(name, f"port {address}:{published}")
    return {
        "target": port["target"],
        "published": int(published),
        "protocol": port["protocol"],
        "mode": "host",
    }


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _unknown(name: str, what: str) -> Failure:
    return Failure(
        f"{name} on a swarm",
        found=what,
        needed="what compose/lifecycle/runtime/stack_file.py knows",
        do="Say there what Swarm has in its place, or `make up RUNTIME=docker`.",
    )
