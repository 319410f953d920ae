"""The cluster's nodes, as its head knows them: `python -m cluster.nodes` prints them as JSON.

`{"nodes": [...]}`, or `{"error": "..."}` where the head can't be asked.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from cluster.place import Place
from cluster.ray_node import certify
from labelloop import reach
from labelloop.cluster_node import ALIVE, LEFT, LOST, VERSION_LABEL, Node
from labelloop.errors import Explained, in_one_line
from labelloop.layout import pool_port

SECONDS = 10.0
POOL_SECONDS = 3.0


class NotTold(Explained):
    """The head does not tell; the message says why."""


def ask(place: Place, head: str) -> list[Node]:
    """Alive ones first, each in the order of their addresses.

    Raises:
        Explained: the head can't be reached, is another one, or refuses the token.
    """
    address = reach.greet(head, place.authority.read_text())
    os.environ.update(place.variables)
    # Reads the variables as it is imported.
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError, RayError

    try:
        rows = GcsClient(address=address).get_all_node_info(timeout=SECONDS)
    except AuthenticationError as error:
        raise NotTold(
            f"{head} refuses the token. Copy the head's present volumes/run/cluster/join.json here, and "
            "`make join TOKEN_FILE=…`."
        ) from error
    except RayError as error:
        raise NotTold(f"{head} does not tell its nodes: {error}") from error
    return told(list(rows.values()), place.address)


def told(rows: Sequence[Any], here: str) -> list[Node]:
    """Of each machine one node: that which lives, if one does.

    rows: Ray's GcsNodeInfo. here: this machine's address.
    """
    nodes = [_node(row, here) for row in rows]
    alive = {node.address: node for node in nodes if node.state == ALIVE}
    ended = {node.address: node for node in nodes if node.address not in alive}
    return sorted(
        (*alive.values(), *ended.values()),
        key=lambda node: (node.state != ALIVE, not node.is_head, node.address),
    )


def _node(row: Any, here: str) -> Node:
    """row: Ray's GcsNodeInfo. here: this machine's address."""
    total = dict(row.resources_total)
    return Node(
        address=row.node_manager_address,
        name=row.node_manager_hostname,
        is_head=row.is_head_node,
        is_here=row.node_manager_address == here,
        cores=total.get("CPU", 0.0),
        gpus=total.get("GPU", 0.0),
        memory=total.get("memory", 0.0),
        version=dict(row.labels).get(VERSION_LABEL, ""),
        since=row.start_time_ms / 1000,
        state=_state(row),
    )


def _state(row: Any) -> str:
    from ray.core.generated.common_pb2 import NodeDeathInfo
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    if row.state == GcsNodeInfo.GcsNodeState.ALIVE:
        return ALIVE
    unsaid = (NodeDeathInfo.Reason.UNEXPECTED_TERMINATION, NodeDeathInfo.Reason.UNSPECIFIED)
    return LOST if row.death_info.reason in unsaid else LEFT


def at_work(port: int) -> Mapping[str, int]:
    """A machine's name and address → how many detectors it has; empty where they can't be asked, as on a
    machine that has joined. port: the first of the head's.
    """
    import requests

    with suppress(requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        health = requests.get(f"http://127.0.0.1:{pool_port(port)}/health", timeout=POOL_SECONDS).json()
        return {name: int(row["detectors"]) for name, row in health["machines"].items()}
    return {}


def main() -> int:
    try:
        place = Place.of(os.environ)
        head = os.environ.get("CLUSTER_HEAD") or place.here
        if not place.certificate.is_file():  # of a machine that is about to join
            certify(place)
        working = at_work(place.port)
        nodes = [
            replace(node, detectors=working.get(f"{node.name} ({node.address})", 0))
            for node in ask(place, head)
        ]
        answer: dict[str, Any] = {"nodes": [asdict(node) for node in nodes]}
    except (Explained, OSError) as error:
        answer = {"error": in_one_line(error)}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
