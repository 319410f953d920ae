"""What the head's record of a node is told as."""

import pytest
from ray.core.generated.common_pb2 import NodeDeathInfo
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from cluster import nodes

REASON = NodeDeathInfo.Reason


def record(address: str, state: int = 0, reason: int = 0) -> GcsNodeInfo:
    made = GcsNodeInfo(node_manager_address=address, node_manager_hostname="big", start_time_ms=5000)
    made.state = state
    made.death_info.reason = reason
    made.resources_total["CPU"] = 8.0
    made.labels["labelloop-version"] = "0a1b"
    return made


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (REASON.EXPECTED_TERMINATION, "left"),
        (REASON.AUTOSCALER_DRAIN_PREEMPTED, "left"),
        (REASON.UNEXPECTED_TERMINATION, "lost"),
        (REASON.UNSPECIFIED, "lost"),
    ],
)
def test_who_said_that_it_goes_has_left_and_is_not_lost(reason: int, state: str) -> None:
    assert nodes.told([record("10.0.0.5", 1, reason)], "10.0.0.1")[0].state == state


def test_a_machine_that_is_back_is_not_told_as_lost_too() -> None:
    rows = [record("10.0.0.5", 1), record("10.0.0.6", 1), record("10.0.0.5"), record("10.0.0.6", 1)]
    found = nodes.told(rows, "10.0.0.5")
    assert [(node.address, node.state, node.is_here) for node in found] == [
        ("10.0.0.5", "alive", True),
        ("10.0.0.6", "lost", False),
    ]
    assert (found[0].cores, found[0].gpus, found[0].version, found[0].since) == (8.0, 0.0, "0a1b", 5.0)
