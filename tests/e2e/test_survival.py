"""kill -9 of each service in the middle of its work; `make up` then ends in a consistent stack that carries
on.

Goes on from the stack that test_loop.py, test_screen.py and test_dashboard.py have left: v0001 in service.
"""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from support import shapes
from support.consistency import check_consistent, everything_pre_labelled, killed_while_booting, rounds_of
from support.stack import Stack, wait_for

from labelloop.registry import Registry
from labelloop.task_filters import UNLABELLED

SERVICES = ("labelstudio", "mlbackend", "trainer")
CARRIES_ON_WITHIN_S = 240


STAGES = ("requested", "snapshotting", "training", "evaluating")


def test_import_and_pre_labelling_carry_on(stack: Stack) -> None:
    """New images come in; each service in turn is killed while they are imported and pre-labelled."""
    tasks = stack.studio().count_tasks(1)
    for number, service in enumerate(SERVICES):
        shapes.save(stack.images / f"more-{service}", 12, start=100 + 12 * number)
        tasks += 12
        if service != "labelstudio":
            wait_for("the import", lambda count=tasks: stack.studio().count_tasks(1) >= count, 60, every=0.2)
        assert stack.kill(service)
        stack.run("up")
        wait_for(
            "the import", lambda count=tasks: stack.studio().count_tasks(1) == count, CARRIES_ON_WITHIN_S
        )
        wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    check_consistent(stack)


def test_a_round_is_taken_up_where_it_stopped(stack: Stack) -> None:
    """A round whose trainer is killed in each of its stages still comes to its end, once."""
    annotations = stack.studio().count_tasks(1)
    for task in islice(stack.studio().iter_tasks(1, UNLABELLED), 6):
        stack.studio().request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": []})
    before = len(rounds_of(stack))
    [backend] = stack.studio().backends(1)
    stack.studio().request("POST", f"/api/ml/{backend['id']}/train", json={})

    def past(stage: str) -> Callable[[], bool]:
        """Whether the round is in `stage`, or further."""
        return lambda: rounds_of(stack)[-1][0] not in STAGES[: STAGES.index(stage)]

    for stage in STAGES[1:]:
        wait_for(f"the round to reach {stage}", past(stage), CARRIES_ON_WITHIN_S, every=0.1)
        if stage == "training":
            folder = max((stack.home / "volumes/rounds").glob("[0-9]*"))
            wait_for("a checkpoint", (folder / "last.pth").exists, CARRIES_ON_WITHIN_S)
        assert stack.kill("trainer")
        stack.run("up")
    wait_for("the round's end", lambda: rounds_of(stack)[-1][0] not in STAGES, 600)
    state, error = rounds_of(stack)[-1]
    assert state in ("promoted", "kept"), f"{state}: {error}"
    assert len(rounds_of(stack)) == before + 1
    wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    assert stack.studio().count_tasks(1) == annotations
    check_consistent(stack)
    versions = [path.name for path in (stack.home / "volumes/models/1").glob("v[0-9]*")]
    rounds = [
        json.loads((stack.home / f"volumes/models/1/{v}/card.json").read_text())["round"] for v in versions
    ]
    assert len(rounds) == len(set(rounds)), "a round writes at most one version"


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_boot_heals(stack: Stack, service: str) -> None:
    """Everything is stopped, started, and one service killed as soon as it runs."""
    stack.run("down")
    killed_while_booting(stack, service)
    wait_for("the pre-labels", lambda: everything_pre_labelled(stack), CARRIES_ON_WITHIN_S)
    check_consistent(stack)


def test_old_rounds_lose_their_data_by_a_setting(stack: Stack) -> None:
    """Of the loop's, the dashboard's and this file's round, the newest and the champion's stay whole."""
    rounds = stack.home / "volumes/rounds"
    models = Registry(stack.home / "volumes/models").project(1)
    newest = len(rounds_of(stack))
    whole = {newest, models.card(models.champion() or "").round}
    stays = {"round.json", "retention.json", "evaluation.json", "job.json"}
    stack.run("up", KEEP_ROUNDS=1)
    for number in set(range(1, newest + 1)) - whole:
        wait_for("its data to go", lambda folder=rounds / f"{number:05d}": names(folder) <= stays, 120)
        assert (rounds / f"{number:05d}/retention.json").exists()
    for number in whole:
        assert {"snapshot.json", "evaluation.json"} <= names(rounds / f"{number:05d}")
    assert len(rounds_of(stack)) == newest, "the table keeps every round"
    check_consistent(stack)
    stack.run("up", KEEP_ROUNDS=20)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
