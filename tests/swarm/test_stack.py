"""The real stack on a swarm of two nodes: `make stack`, with the ML backends on the other one.

The images are built by this machine's own engine and carried to the nodes. The checkout is the same folder
for both, as it is where it is shared.
"""

import io
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support import shapes, shapes_stack
from support.stack import Stack, wait_for
from support.two_engines import carry
from support.two_nodes import Swarm

from lifecycle.runtime import swarm as asked

pytestmark = pytest.mark.timeout(5400)

UPDATE_S = 1800
"""Longer than `make stack` itself waits, which then says for what."""
BACKEND = "labelloop/mlbackend:cpu"
IMAGES = (
    "python:3.11-slim-bookworm",
    "labelloop/base:cpu",
    "labelloop/trainer:cpu",
    "labelloop/labelstudio",
    BACKEND,
)


@pytest.fixture
def stack(swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Its images are on the manager, the backend's on the worker, too; it is not up yet."""
    made = Stack.copy_of_work_tree(tmp_path / "appliance", f"swarm{os.getpid()}")
    made.runtime = "docker"
    made.run("build", timeout=3600)
    carry(swarm.manager, *IMAGES)
    carry(swarm.worker, BACKEND)
    monkeypatch.setenv("DOCKER_HOST", swarm.manager.engine)
    made.runtime, made.inside, made.host = "swarm", tuple(swarm.manager.within()), swarm.address
    try:
        yield made
    finally:
        print(made.run("logs", check=False, timeout=60)[-8000:])
        made.run("down", check=False, timeout=300)
        swarm.manager.docker("node", "update", "--label-rm", asked.BACKEND_LABEL, swarm.worker.name)


@dataclass
class Stream:
    """Of POST /detect. boxes: how often there were some. failed: when, by this machine's clock, and what was
    answered instead, or why nothing was. longest: wait in seconds.
    """

    boxes: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0

    def count(self, told: requests.Response | Exception) -> None:
        if isinstance(told, requests.Response) and told.status_code == 200:
            self.boxes += 1
            return
        why = str(told) if isinstance(told, Exception) else f"{told.status_code} {told.text[:300]}"
        self.failed.append(f"{time.strftime('%H:%M:%S')} {why}")


@contextmanager
def detections(stack: Stack, token: str, askers: int = 2) -> Iterator[Stream]:
    """Asks for an image's boxes all the time, each asker one after the other."""
    data = io.BytesIO()
    shapes.picture(7).image.save(data, "PNG")
    stream, over = Stream(), threading.Event()
    url, known = f"http://{stack.host}:{stack.port + 1}/detect", {"Authorization": f"Bearer {token}"}

    def ask() -> None:
        while not over.wait(1.1):  # a token may ask 120 times a minute
            began = time.monotonic()
            try:
                stream.count(requests.post(url, data=data.getvalue(), headers=known, timeout=120))
            except requests.RequestException as error:
                stream.count(error)
            stream.longest = max(stream.longest, time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(askers)]
    for thread in threads:
        thread.start()
    try:
        yield stream
    finally:
        over.set()
        for thread in threads:
            thread.join()


def nodes_of(stack: Stack, service: str) -> list[str]:
    """Where the service's tasks run."""
    tasks = asked.tasks(stack.name)
    return sorted(asked.node_name(t.node) for t in tasks if t.service == service and t.state == "running")


def test_boxes_come_from_the_other_node_and_an_update_fails_none(stack: Stack, swarm: Swarm) -> None:
    shapes.save(stack.images / "shapes", 6)
    assert "needed 0.0.0.0" in stack.run("stack", check=False, PORT=stack.port)
    swarm.manager.docker("node", "update", "--label-add", f"{asked.BACKEND_LABEL}=true", "node2")

    # The worker doesn't know the image by the name that it has on all nodes: it is named, with the way out,
    # which has nothing to carry any more (test_rolling.py has an image that is not there at all).
    told = shapes_stack_up(stack, check=False)
    lacking = re.search(r"docker save (\S+) \| ssh node2 docker load", told)
    assert lacking is not None, told
    swarm.worker.docker("tag", BACKEND, lacking[1])
    shapes_stack_up(stack)
    assert nodes_of(stack, "mlbackend") == ["node2"] and nodes_of(stack, "trainer") == ["node1"]
    wait_for("the pictures' tasks", lambda: stack.studio().count_tasks(1) == 6, 600)
    wait_for(
        "the model's predictions",
        lambda: all(rows and rows[-1]["model_version"] == "v0000" for rows in stack.predictions().values()),
        900,
    )
    assert re.search(r"mlbackend +healthy", stack.run("status", check=False))
    assert "ML backends on node2" in stack.run("doctor", check=False)
    assert "running on swarm" in stack.run("up", check=False, RUNTIME="docker")
    token = stack.run("token", NAME="camera").split("\n\n")[1].strip()

    # One backend is replaced, then a second one comes, then both are replaced.
    with detections(stack, token) as stream:
        stack.run("stack", MLBACKEND_MEMORY="3g", timeout=UPDATE_S)
        stack.run("stack", BACKENDS=2, timeout=UPDATE_S)
        stack.run("stack", MLBACKEND_MEMORY="3500m", timeout=UPDATE_S)
    print(f"{stream.boxes} detections, the longest {stream.longest:.1f} s")
    assert stream.failed == [] and stream.boxes > 20
    assert nodes_of(stack, "mlbackend") == ["node2", "node2"]

    archive = stack.run("backup")
    assert "labelloop-" in archive
    stack.run("down")
    assert not asked.services(stack.name)
    assert "nothing runs" in stack.run("down")


def shapes_stack_up(stack: Stack, check: bool = True) -> str:
    return shapes_stack.up(stack, target="stack", check=check, BIND="0.0.0.0", RETRAIN_EVERY=0)
