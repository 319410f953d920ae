"""A whole stack as a cluster's head, and two machines that have joined it: a round trains on all of them.

Needs root; a job of its own: `make test TESTS=tests/cluster`.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from support import shapes, shapes_stack
from support.cluster_machines import Worker, sharing
from support.network_namespaces import Machine, cannot, machines
from support.stack import Stack, wait_for

LABELLED = 28

pytestmark = [pytest.mark.timeout(3600), pytest.mark.skipif(bool(cannot()), reason=cannot())]


@pytest.fixture
def network() -> Iterator[list[Machine]]:
    with machines("head", "one", "two") as made:
        yield made


@pytest.fixture
def stack(tmp_path: Path, network: list[Machine]) -> Iterator[Stack]:
    """Up, in the head's network, with labelled pictures."""
    head = network[0]
    with head.entered():
        made = Stack.copy_of_work_tree(tmp_path / "head", head.name)
        made.runtime = "host"
        try:
            cluster = {"CLUSTER": "ray", "CLUSTER_BIND": head.address, "TRAINING_PROCESSES": "auto"}
            print(shapes_stack.up(made, THREADS=1, RETRAIN_EVERY=0, **cluster))
            label(made)
            yield made
        finally:
            print(made.run("logs", check=False, timeout=60)[-12000:])
            made.run("down", check=False, timeout=180)


def label(stack: Stack) -> None:
    pictures = shapes.save(stack.images / "shapes", LABELLED + 4)
    studio = stack.studio()
    wait_for("tasks", lambda: studio.count_tasks(1) == len(pictures), 300)
    tasks = {
        parse_qs(urlsplit(task["data"]["image"]).query)["d"][0].rpartition("/")[2]: task["id"]
        for task in studio.iter_tasks(1, page_size=100)
    }
    for name, picture in islice(pictures.items(), LABELLED):
        where = f"/api/tasks/{tasks[name]}/annotations/"
        studio.request("POST", where, json={"result": picture.annotation()})


def test_a_round_trains_on_the_head_and_on_two_that_have_joined(
    stack: Stack, network: list[Machine], tmp_path: Path
) -> None:
    status = stack.run("status", check=False)
    assert "the head, " in status and "1 machine, 1 core," in status
    workers = [
        Worker(machine, sharing(tmp_path / machine.name, stack.home), stack.home).joined()
        for machine in network[1:]
    ]
    output = stack.run("retrain", timeout=1800)
    assert "promoted v0001" in output, output
    card = json.loads((stack.home / "volumes/models/1/v0001/card.json").read_text())
    assert card["classes"] == list(shapes.LABELS)
    log = "\n".join(path.read_text() for path in (stack.home / "volumes/rounds").glob("[0-9]*/*.log"))
    for machine in network:
        assert machine.address in log, f"nothing ran on {machine.name}"
    for worker in workers:
        assert worker.make("leave").returncode == 0
