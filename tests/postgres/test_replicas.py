"""Several containers of Label Studio behind the stack's proxy, and several ML backends, under Docker.

A job of its own, beside test_docker.py. What does not need containers is in
tests/integration/labelstudio/test_replicas.py and tests/contract/test_several_backends.py.
"""

import subprocess
import time

import pytest
import requests
from support import shapes, shapes_stack
from support.stack import Stack, wait_for

from lifecycle import engine

pytestmark = pytest.mark.timeout(3600)


def containers(stack: Stack, service: str) -> list[str]:
    """The ids of a service's containers that run."""
    return [
        one["Id"]
        for one in engine.containers(stack.env()["COMPOSE_PROJECT_NAME"])
        if engine.service_of(one) == service and one["State"]["Running"]
    ]


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=120).stdout


def test_one_address_goes_on_when_a_container_is_killed_or_stopped(stack: Stack) -> None:
    shapes.save(stack.images / "shapes", 4)
    shapes_stack.up(stack, DATABASE="postgres", REPLICAS=2, BACKENDS=2, RETRAIN_EVERY=0)
    assert [len(containers(stack, name)) for name in ("labelstudio", "front", "mlbackend")] == [2, 1, 2]
    assert len(stack.studio().projects()) == 1
    wait_for("the pictures' tasks", lambda: stack.studio().count_tasks(1) == 4, 120)
    url = f"http://127.0.0.1:{stack.env()['PORT']}/health"

    first, second = containers(stack, "labelstudio")
    for stop in (("kill", first), ("stop", second)):
        docker(*stop)
        # One that is killed may have a request at work; within a second or two nobody is sent there.
        time.sleep(3)
        assert {requests.get(url, timeout=30).status_code for _ in range(20)} == {200}, stop
        docker("start", stop[1])
        wait_for(
            "it to be healthy again",
            lambda one=stop[1]: docker("inspect", "-f", "{{.State.Health.Status}}", one).strip() == "healthy",
            180,
        )
        time.sleep(5)

    task = next(iter(stack.studio().iter_tasks(1)))["id"]
    stack.studio().request("POST", f"/api/tasks/{task}/annotations", json={"result": []})
    stack.run("up", REPLICAS=1, BACKENDS=1)
    assert [len(containers(stack, name)) for name in ("labelstudio", "front", "mlbackend")] == [1, 0, 1]
    assert len(stack.studio().task(task)["annotations"]) == 1
