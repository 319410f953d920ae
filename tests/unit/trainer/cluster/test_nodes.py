"""Which machines of a cluster train a round, and in how many processes."""

from typing import Any

import pytest

from trainer.cluster.announce import announcement, resource
from trainer.cluster.code_version import LENGTH, code_version
from trainer.cluster.nodes import Node, NoMachine, alive, plan

OURS = "0a1b2c"


def node(name: str, cpus: float = 2, gpus: float = 0, version: str = OURS) -> Node:
    return Node(f"id-{name}", name, version, cpus, gpus)


def row(name: str, alive: bool = True, **more: Any) -> dict[str, Any]:
    """As of ray.nodes()."""
    return {
        "NodeID": f"id-{name}",
        "Alive": alive,
        "NodeManagerHostname": name,
        "NodeManagerAddress": "10.0.0.2",
        "Resources": {"CPU": 8.0, "GPU": 2.0},
        "Labels": {"labelloop-version": OURS},
        **more,
    }


def test_what_ray_tells_of_machines_that_live() -> None:
    found = alive([row("one"), row("two", alive=False), row("three", Resources={}, Labels={})])
    assert found == [
        Node("id-one", "one (10.0.0.2)", OURS, 8, 2),
        Node("id-three", "three (10.0.0.2)", "", 0, 0),
    ]
    [left, gone] = alive([row("one"), row("two")], {"id-one": {"CPU": 1.0}})
    assert (left.cpus, left.gpus, gone.cpus) == (1, 0, 0), "another round has the rest"


def test_every_gpu_trains_whatever_training_processes_says() -> None:
    found = plan([node("one", 8, 2), node("two", 4, 1), node("three", 4)], OURS, 1, 8, on_gpus=True)
    assert (found.size, found.threads) == (3, 4)
    assert found.resources == {"GPU": 1, resource(OURS): 1}


@pytest.mark.parametrize(
    ("processes", "threads", "size", "each"),
    [
        (1, 2, 1, 2),
        (2, 2, 2, 2),
        (9, 2, 3, 2),
        (9, 1, 6, 1),
        (9, 8, 1, 4),
        ("auto", 2, 2, 2),
        ("auto", 8, 1, 4),
    ],
)
def test_processes_on_cpus(processes: int | str, threads: int, size: int, each: int) -> None:
    """A machine of 2 cores and one of 4."""
    found = plan([node("one", 2), node("two", 4)], OURS, processes, threads, on_gpus=False)
    assert (found.size, found.threads) == (size, each)
    assert found.resources == {"CPU": each, resource(OURS): 1}


def test_a_machine_with_other_code_gets_no_work_and_is_named_with_both_versions() -> None:
    found = plan([node("one"), node("two", version="ffff"), node("three", version="")], OURS, 9, 2, False)
    assert found.size == 1 and [machine.name for machine in found.machines] == ["one"]
    assert found.refused == [
        "two gets no work: its code is ffff, ours is 0a1b2c",
        "three gets no work: its code is of no known version, ours is 0a1b2c",
    ]
    with pytest.raises(NoMachine, match="^two gets no work: its code is ffff, ours is 0a1b2c$"):
        plan([node("two", version="ffff")], OURS, 1, 2, on_gpus=False)


def test_a_cluster_without_what_is_asked_for() -> None:
    with pytest.raises(NoMachine, match="no machine of the cluster has a GPU; .*ACCELERATOR=cpu"):
        plan([node("one")], OURS, 1, 2, on_gpus=True)
    with pytest.raises(NoMachine, match="offers a core"):
        plan([node("one", cpus=0)], OURS, 1, 2, on_gpus=False)
    with pytest.raises(NoMachine, match="the cluster has no machine"):
        plan([], OURS, 1, 2, on_gpus=False)


def test_a_machine_announces_the_version_of_its_code() -> None:
    version = code_version()
    assert len(version) == LENGTH and version == code_version()
    assert announcement() == {
        "version": version,
        "resources": {f"labelloop-code-{version}": 1000},
        "labels": {"labelloop-version": version},
    }
