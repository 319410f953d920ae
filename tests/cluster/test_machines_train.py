"""A whole stack as a cluster's head, and two machines that have joined it: they train a round together, make
pre-labels, and a round goes on when a machine and the head itself are killed.

Needs root; a job of its own: `make test TESTS=tests/cluster`.
"""

from collections.abc import Iterator

import pytest
from support import shapes
from support.cluster_machines import Worker, sharing
from support.cluster_stack import (
    PICTURES,
    UNLABELLED,
    decided,
    detectors,
    head_with_labels,
    label,
    more_are_pre_labelled,
    rounds_log,
)
from support.network_namespaces import Machine, cannot, kill_all_in, machines
from support.stack import Stack, wait_for

from trainer.worker.predicting import BATCH

ROUND_S = 2400
DETECTORS_S = 600

pytestmark = [pytest.mark.timeout(3600), pytest.mark.skipif(bool(cannot()), reason=cannot())]


@pytest.fixture(scope="module")
def network() -> Iterator[list[Machine]]:
    with machines("head", "one", "two") as made:
        yield made


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, network: list[Machine]) -> Iterator[Stack]:
    """Up, in the head's network, with pictures of which most are labelled."""
    head = network[0]
    with head.entered():
        made = Stack.copy_of_work_tree(tmp_path_factory.mktemp("cluster") / "head", head.name)
        made.runtime = "host"
        with head_with_labels(made, head.address) as up:
            yield up


@pytest.fixture(scope="module")
def workers(stack: Stack, network: list[Machine], tmp_path_factory: pytest.TempPathFactory) -> list[Worker]:
    folder = tmp_path_factory.mktemp("workers")
    return [
        Worker(machine, sharing(folder / machine.name, stack.home), stack.home).joined()
        for machine in network[1:]
    ]


def iterations(stack: Stack, number: int) -> int:
    path = stack.home / f"volumes/rounds/{number:05}/metrics.jsonl"
    return path.read_text().count("\n") if path.is_file() else 0


def test_a_round_trains_on_the_head_and_on_two_that_have_joined(
    stack: Stack, network: list[Machine], workers: list[Worker]
) -> None:
    status = stack.run("status", check=False)
    assert "the head, " in status and "3 machines, 3 cores, 0 GPUs" in status
    output = stack.run("retrain", timeout=ROUND_S)
    assert decided(output) and "in 3 processes" in output, output
    log = rounds_log(stack, 1)
    for machine in network:
        assert machine.address in log, f"nothing ran on {machine.name}"


def test_machines_that_have_joined_make_pre_labels(stack: Stack, workers: list[Worker]) -> None:
    wait_for("their detectors", lambda: len(detectors()) == len(workers), DETECTORS_S)
    more_are_pre_labelled(stack, 3 * BATCH, PICTURES)
    assert sum(detectors().values()) >= BATCH
    assert stack.run("status", check=False).count("1 detector for pre-labels") == len(workers)


def test_a_round_goes_on_when_a_machine_and_then_the_head_are_killed(
    stack: Stack, network: list[Machine], workers: list[Worker]
) -> None:
    label(stack, shapes.save(stack.images / "shapes", PICTURES), PICTURES - UNLABELLED, PICTURES)
    number = 1 + len(list((stack.home / "volumes/rounds").glob("[0-9]*")))
    at_work = stack.start("retrain")
    try:
        wait_for("the training", lambda: iterations(stack, number) >= 5, ROUND_S)
        kill_all_in(workers[1].machine.name)
        done = iterations(stack, number)
        wait_for("it to go on without that one", lambda: iterations(stack, number) >= done + 5, ROUND_S)
        assert stack.kill("head")
        output, _ = at_work.communicate(timeout=ROUND_S)
    finally:
        at_work.kill()
    assert decided(output), output
    assert "in 2 processes" in output, output
