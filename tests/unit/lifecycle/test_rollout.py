"""How far a deployment on a swarm is said to be."""

from dataclasses import replace
from typing import Any

import pytest

from lifecycle.runtime.rollout import GIVEN_UP_AFTER, UNPLACED_SECONDS, Rollout, Trouble, state_of
from lifecycle.runtime.swarm import Service, Task

NEW, OLD = "new", "old"
ONE = Service("mlbackend", 1, NEW, "/here", "", "")


def task(state: str, spec: str = NEW, **more: Any) -> Task:
    values = {"id": f"{state}-{spec}", "service": "mlbackend", "node": "n1", "wanted": True, "error": ""}
    return Task(**{**values, "state": state, "spec": spec, **more})


@pytest.mark.parametrize(
    ("service", "tasks", "state"),
    [
        (ONE, [], "starting"),
        (ONE, [task("preparing")], "starting"),
        (ONE, [task("starting")], "starting"),
        (ONE, [task("running")], "healthy"),
        (ONE, [task("running", OLD)], "updating"),
        (ONE, [task("running", OLD), task("starting")], "updating"),
        (ONE, [task("running", OLD, wanted=False), task("running")], "updating"),
        (ONE, [task("shutdown", OLD, wanted=False), task("running")], "healthy"),
        (replace(ONE, updating="updating"), [task("running")], "updating"),
        (replace(ONE, updating="completed"), [task("running")], "healthy"),
        (replace(ONE, replicas=2), [task("running")], "updating"),
        (ONE, [task("running", wanted=False)], "updating"),
        (ONE, [task("failed", id=str(number)) for number in range(GIVEN_UP_AFTER)], "failing"),
        (ONE, [task("failed", id="1"), task("starting")], "starting"),
    ],
)
def test_a_service_is_healthy_once_all_of_it_is_of_its_newest_form(
    service: Service, tasks: list[Task], state: str
) -> None:
    assert state_of(service, tasks) == state


def ended(service: str, how: str, count: int) -> list[Task]:
    words = {"failed": "task: non-zero exit (3)", "rejected": "No such image: x"}[how]
    return [
        task(how, service=service, id=f"{service}{number}", wanted=False, error=words)
        for number in range(count)
    ]


def rollout() -> Rollout:
    return Rollout({"labelstudio": NEW, "mlbackend": NEW}, before=["former"])


STUDIO = replace(ONE, name="labelstudio")
BOTH = [STUDIO, ONE]
STUDIO_RUNS = task("running", service="labelstudio", id="s")


def test_who_ends_while_another_one_is_not_there_yet_is_not_given_up() -> None:
    looked = rollout()
    for count in range(1, 9):
        looked.look(BOTH, [*ended("mlbackend", "failed", count)], 1.0)
        assert looked.trouble is None
    looked.look(BOTH, [STUDIO_RUNS, *ended("mlbackend", "failed", 8 + GIVEN_UP_AFTER - 1)], 2.0)
    assert looked.trouble is None
    states = looked.look(BOTH, [STUDIO_RUNS, *ended("mlbackend", "failed", 8 + GIVEN_UP_AFTER)], 3.0)
    assert looked.trouble == Trouble("mlbackend", "n1", "task: non-zero exit (3)")
    assert states == {"labelstudio": "healthy", "mlbackend": "failing"}


def test_a_node_that_refuses_does_so_whoever_is_there() -> None:
    looked = rollout()
    looked.look(BOTH, ended("mlbackend", "rejected", GIVEN_UP_AFTER), 1.0)
    assert looked.trouble == Trouble("mlbackend", "n1", "No such image: x")


def test_the_first_in_the_order_is_named() -> None:
    looked = rollout()
    both = ended("mlbackend", "rejected", 3) + ended("labelstudio", "rejected", 3)
    looked.look(BOTH, both, 1.0)
    assert looked.trouble is not None and looked.trouble.service == "labelstudio"


def test_what_ended_before_the_deployment_does_not_count() -> None:
    looked = Rollout({"mlbackend": NEW}, [f"mlbackend{number}" for number in range(9)])
    looked.look([ONE], ended("mlbackend", "rejected", 9), 1.0)
    assert looked.trouble is None


@pytest.mark.parametrize(
    "service", [replace(ONE, spec=OLD, updating="rollback_started"), replace(ONE, updating="paused")]
)
def test_an_update_that_swarm_took_back_or_stopped_is_told_with_what_ended(service: Service) -> None:
    looked = Rollout({"mlbackend": NEW}, [])
    looked.look([service], [task("running", OLD), *ended("mlbackend", "failed", 1)], 1.0)
    assert looked.trouble == Trouble("mlbackend", "n1", "task: non-zero exit (3)")
    looked.look([replace(service, why="rolled back")], [task("running", OLD)], 1.0)
    assert looked.trouble == Trouble("mlbackend", "", "rolled back")


def test_a_task_that_no_node_takes_is_waited_for_a_while() -> None:
    looked = Rollout({"mlbackend": NEW}, [])
    unplaced = [task("pending", error="no suitable node (host-mode port already in use on 1 node)")]
    for seconds in (5.0, 5.0 + UNPLACED_SECONDS):
        assert looked.look([ONE], unplaced, seconds) == {"mlbackend": "starting"}
        assert looked.trouble is None
    assert looked.look([ONE], unplaced, 6.0 + UNPLACED_SECONDS) == {"mlbackend": "failing"}
    assert looked.trouble is not None and "no suitable node" in looked.trouble.why


def test_a_service_that_is_not_there_yet_is_waited_for() -> None:
    assert rollout().look([], [], 0.0) == {"labelstudio": "waiting", "mlbackend": "waiting"}
