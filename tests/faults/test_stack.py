"""Faults in a whole stack: at random while somebody labels, in its boot, in a backup; `make faults` alone."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from faults.conftest import KILLS
from support import shapes, shapes_stack
from support.consistency import check_consistent, everything_pre_labelled, killed_while_booting, rounds_of
from support.stack import MAKE_S, Stack, wait_for

from labelloop.studio import StudioError
from labelloop.task_filters import UNLABELLED

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

SERVICES = ("labelstudio", "mlbackend", "trainer")
FAULTS = ("crash", "crash", "crash", "freeze")
FROZEN_S = (1.0, 8.0)
PAUSE_S = 4.0
UP_EVERY = 8
RESTARTS_WITHIN_S = 90
CARRIES_ON_WITHIN_S = 300


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack.copy_of_work_tree(tmp_path_factory.mktemp("appliance"), f"labelloop-faults-{os.getpid()}")
    shapes.save(made.images / "first", 24)
    try:
        shapes_stack.up(made, 40, ITERATIONS=40, RETRAIN_EVERY=6, timeout=MAKE_S)
        wait_for("the first pre-labels", lambda: well(made), CARRIES_ON_WITHIN_S)
        yield made
    finally:
        made.run("down", check=False, timeout=180)


def well(stack: Stack) -> bool:
    return stack.studio().count_tasks(1) > 0 and everything_pre_labelled(stack)


class Person:
    """Submits boxes when Label Studio takes them. submitted: acknowledged ones by id."""

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._stack, self._rng = stack, rng
        self.submitted: dict[int, tuple[int, list[Any]]] = {}

    def label(self, count: int) -> None:
        studio = self._stack.studio()
        try:
            for task in islice(studio.iter_tasks(1, UNLABELLED), count):
                result = shapes.picture(self._rng.randrange(30)).annotation()
                path = f"/api/tasks/{task['id']}/annotations/"
                made = studio.request("POST", path, json={"result": result}, timeout=(3.0, 20.0))
                self.submitted[made["id"]] = task["id"], [row["value"] for row in made["result"]]
        except StudioError:
            pass  # not acknowledged: a person would try again

    def lost(self) -> list[int]:
        """Acknowledged annotations that are not there, or not as they were."""
        there = {
            annotation["id"]: (task["id"], [row["value"] for row in annotation["result"]])
            for task in self._stack.studio().annotated_tasks(1)
            for annotation in task["annotations"]
        }
        return [number for number, content in self.submitted.items() if there.get(number) != content]


def test_random_faults_while_somebody_labels(
    stack: Stack, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    person, done = Person(stack, rng), Counter[tuple[str, str, str]]()
    while sum(done.values()) < max(KILLS // 4, 1):
        number = sum(done.values())
        if number % 3 == 0:
            shapes.save(stack.images / f"more-{number}", 2, start=100 + 2 * number)
        person.label(2)
        time.sleep(rng.uniform(0.0, PAUSE_S))
        wait_for("all to run again", lambda: all(map(stack.runs, SERVICES)), RESTARTS_WITHIN_S)
        service, fault = rng.choice(SERVICES), rng.choice(FAULTS)
        rounds = rounds_of(stack)
        if fault == "freeze":
            with stack.frozen(service):
                time.sleep(rng.uniform(*FROZEN_S))
        else:
            assert stack.crash(service), f"{service} ended by itself"
        done[service, fault, rounds[-1][0] if rounds else "no round"] += 1
        if sum(done.values()) % UP_EVERY == 0:
            stack.run("up")
    stack.run("up")
    wait_for("open rounds to end", lambda: not is_open(stack), 900)
    wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    states = Counter(state for state, _ in rounds_of(stack))
    with capsys.disabled():
        print(f"\n{sum(done.values())} faults in a whole stack: {dict(sorted(done.items()))}")
        print(f"rounds: {dict(states)}; {len(person.submitted)} annotations acknowledged")
    assert person.submitted and not person.lost()
    check_consistent(stack)
    assert all(error for state, error in rounds_of(stack) if state == "failed")
    stack.run("status")


def is_open(stack: Stack) -> bool:
    return any(state not in ("promoted", "kept", "failed", "cancelled") for state, _ in rounds_of(stack))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_was_killed_while_all_boots(stack: Stack, service: str) -> None:
    stack.run("down")
    killed_while_booting(stack, service)
    wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    check_consistent(stack)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_was_killed_during_a_backup(stack: Stack, service: str, rng: random.Random) -> None:
    """The archive is whole: it comes back, with all that was acknowledged before it was begun."""
    person, before = Person(stack, rng), stack.archives()
    backups = stack.home / "volumes/backups"
    person.label(2)
    with stack.start("backup") as making:
        wait_for("the backup to begin", lambda: list(backups.glob(".*")), 60, every=0.02)
        assert stack.kill(service)
        output, _ = making.communicate(timeout=MAKE_S)
    assert making.returncode == 0, output
    [archive] = stack.archives() - before
    stack.run("restore", FILE=archive)
    assert person.submitted and not person.lost()
    wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    check_consistent(stack)
