"""A cluster under Docker: the stack as head on one engine, and a machine that has joined it on another one.

Each engine is in a network namespace of its own. They share the head's folders by mounts of this host, in an
NFS share's place. Needs root; a job of its own: `make test TESTS=tests/cluster`.
"""

import os
from collections.abc import Iterator

import pytest
from support.cluster_machines import mounted
from support.cluster_stack import (
    PICTURES,
    decided,
    detectors,
    head_with_labels,
    more_are_pre_labelled,
    rounds_log,
)
from support.network_namespaces import cannot, entered
from support.stack import Stack, engine_answers, wait_for
from support.two_engines import Engines, Node, carry, two_engines

from trainer.worker.predicting import BATCH

pytestmark = [pytest.mark.timeout(5400), pytest.mark.skipif(bool(cannot()), reason=cannot())]

ROUND_S = 2400
SEEN_S = 600
NODES = ("python:3.11-slim-bookworm", "labelloop/base:cpu", "labelloop/trainer:cpu", "labelloop/cluster:cpu")
HEADS = (*NODES, "labelloop/labelstudio", "labelloop/mlbackend:cpu")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    assert engine_answers(), "no Docker engine answers"
    with two_engines(tmp_path_factory.mktemp("engines")) as made:
        yield made


def on(stack: Stack, node: Node) -> Stack:
    """The stack, driven on that engine and on its network."""
    stack.runtime = "docker"
    stack.inside = (*node.within(), "env", f"DOCKER_HOST={node.engine}")
    return stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Stack]:
    """The head, up, with pictures of which most are labelled. This machine's engine builds its images."""
    made = Stack.copy_of_work_tree(tmp_path_factory.mktemp("cluster") / "head", f"head{os.getpid()}")
    made.runtime = "docker"
    made.run("build", timeout=3600, CLUSTER="ray")
    carry(engines.first, *HEADS)
    on(made, engines.first).host = engines.address
    with head_with_labels(made, engines.first.address, BIND="0.0.0.0") as up:
        yield up


@pytest.fixture(scope="module")
def joined(stack: Stack, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The other machine's clone, which has joined."""
    carry(engines.second, *NODES)
    with mounted(tmp_path_factory.mktemp("node") / "clone", stack.home) as home:
        node = on(Stack(home, f"node{os.getpid()}"), engines.second)
        told = node.run("join", TOKEN_FILE=stack.home / "volumes/run/cluster/join.json", THREADS=1)
        assert "the head takes it" in told and "2 machines, 2 cores, 0 GPUs" in told, told
        try:
            yield node
        finally:
            print(node.run("logs", check=False, timeout=60)[-12000:])
            node.run("down", check=False, timeout=300)


def test_a_round_trains_on_both(stack: Stack, joined: Stack, engines: Engines) -> None:
    output = stack.run("retrain", timeout=ROUND_S)
    assert decided(output) and "in 2 processes" in output, output
    log = rounds_log(stack, 1)
    assert engines.first.address in log and engines.second.address in log, log


def test_the_machine_that_has_joined_makes_pre_labels(stack: Stack, joined: Stack, engines: Engines) -> None:
    with entered(engines.first.namespace):
        wait_for("its detector", detectors, SEEN_S)
        more_are_pre_labelled(stack, 3 * BATCH, PICTURES)
        [looked_at] = detectors().values()
    assert looked_at >= BATCH


def test_nothing_is_wrong_and_the_machine_leaves(stack: Stack, joined: Stack, engines: Engines) -> None:
    def left() -> bool:
        """The head has one machine, and remembers the other."""
        status = stack.run("status", check=False)
        return "1 machine, 1 core" in status and engines.second.address in status

    stack.run("up")  # again
    for each in (stack, joined):
        assert "2 machines, 2 cores" in each.run("status", check=False)
        told = each.run("doctor", check=False)
        assert "cluster" in told and "FAIL" not in told, told
    assert "make leave" in joined.run("up", check=False)
    assert "the cluster of" in joined.run("leave")
    wait_for("the head to have seen it", left, SEEN_S, every=5)
