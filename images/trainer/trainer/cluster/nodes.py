"""The machines of a cluster, as Ray tells of them, and which of them may train a round."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from labelloop.cluster_node import VERSION_LABEL
from labelloop.errors import Explained
from trainer.cluster.announce import resource


class NoMachine(Explained):
    """No machine of the cluster can train the round."""


@dataclass(frozen=True)
class Node:
    """A machine that lives. version: of its code, as it says; "" when it says none. cpus, gpus: those that
    may be had. memory: in bytes, 0 when it does not say.
    """

    id: str
    name: str
    version: str
    cpus: float
    gpus: float
    memory: float = 0.0

    @classmethod
    def of(cls, row: Mapping[str, Any], free: Mapping[str, float]) -> Self:
        """row: of ray.nodes()."""
        name, address = row.get("NodeManagerHostname", "?"), row.get("NodeManagerAddress", "?")
        return cls(
            id=row["NodeID"],
            name=f"{name} ({address})",
            version=row.get("Labels", {}).get(VERSION_LABEL, ""),
            cpus=free.get("CPU", 0.0),
            gpus=free.get("GPU", 0.0),
            memory=row.get("Resources", {}).get("memory", 0.0),
        )


def alive(
    rows: Iterable[Mapping[str, Any]], free: Mapping[str, Mapping[str, float]] | None = None
) -> list[Node]:
    """The machines that live, of ray.nodes(). free: what each has left, by its id; all that it has by
    default.
    """
    return [
        Node.of(row, row.get("Resources", {}) if free is None else free.get(row["NodeID"], {}))
        for row in rows
        if row["Alive"]
    ]


@dataclass(frozen=True)
class Plan:
    """Which part of a cluster trains a round. size: how many processes at most. threads: of each. refused:
    one sentence for each machine that gets no work.
    """

    size: int
    threads: int
    on_gpus: bool
    version: str
    machines: Sequence[Node]
    refused: Sequence[str]

    @property
    def resources(self) -> dict[str, float]:
        """What Ray reserves for one process."""
        device = {"GPU": 1.0} if self.on_gpus else {"CPU": float(self.threads)}
        return {**device, resource(self.version): 1.0}


def plan(nodes: Sequence[Node], version: str, processes: int | str, threads: int, on_gpus: bool) -> Plan:
    """Every GPU of the machines with this version of the code; without GPUs so many processes as asked for,
    where `auto` is one for each machine. Each has `threads` threads, or as many as the largest machine has.

    Raises:
        NoMachine: there is none with this version, or none that has what is asked for.
    """
    same = [node for node in nodes if node.version == version]
    refused = [
        f"{node.name} gets no work: its code is {node.version or 'of no known version'}, ours is {version}"
        for node in nodes
        if node.version != version
    ]
    if not same:
        raise NoMachine("; ".join(refused) or "the cluster has no machine")
    if on_gpus:
        gpus = int(sum(node.gpus for node in same))
        if not gpus:
            raise NoMachine("no machine of the cluster has a GPU; `make up ACCELERATOR=cpu` trains without")
        most = max((node.cpus / node.gpus for node in same if node.gpus), default=1.0)
        return Plan(gpus, max(1, min(threads, math.floor(most))), True, version, same, refused)
    each = max(1, min(threads, math.floor(max(node.cpus for node in same))))
    places = int(sum(node.cpus // each for node in same))
    if not places:
        raise NoMachine("no machine of the cluster offers a core (`make join` says what a machine brings)")
    wanted = sum(1 for node in same if node.cpus >= each) if processes == "auto" else int(processes)
    return Plan(min(wanted, places), each, False, version, same, refused)
