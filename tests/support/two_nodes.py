"""A Docker swarm of two nodes on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.two_engines import Node, two_engines


@dataclass(frozen=True)
class Swarm:
    """manager: the node that this host reaches at `address`."""

    manager: Node
    worker: Node
    address: str


@contextmanager
def swarm_of_two(folder: Path) -> Iterator[Swarm]:
    """Two nodes, manager and worker, that have no image yet. All of it is gone behind the block."""
    with two_engines(folder) as engines:
        manager, worker = engines.first, engines.second
        # A busy machine's engine may say nothing for longer than Swarm waits by default, 15 s.
        patient = ["--dispatcher-heartbeat", "60s"]
        manager.docker("swarm", "init", "--advertise-addr", manager.address, *patient)
        token = manager.docker("swarm", "join-token", "--quiet", "worker")
        worker.docker(
            *("swarm", "join", "--token", token, "--advertise-addr", worker.address),
            f"{manager.address}:2377",
        )
        yield Swarm(manager, worker, engines.address)
