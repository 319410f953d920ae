"""What a round's driver does before Ray trains; on real machines in tests/cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import TaskUnschedulableError

from trainer.cluster import driver
from trainer.cluster.nodes import Node, Plan

JOB: Any = None
HERE, GONE = (Node(name, name, "v", 1.0, 0.0) for name in ("here", "gone"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Which machines were asked for the share, each time. `gone` is taken for alive the first time."""
    told: list[list[str]] = []

    def plan(job: Any, settings: Any) -> Plan:
        machines = [HERE] if told else [HERE, GONE]
        return Plan(len(machines), 1, False, "v", machines, [])

    def require_share(machines: Sequence[Node], rounds_dir: Path) -> None:
        told.append([node.name for node in machines])
        if GONE in machines:
            raise TaskUnschedulableError("the node doesn't exist any more")

    monkeypatch.setattr(driver, "_plan", plan)
    monkeypatch.setattr(driver, "require_share", require_share)
    return told


def test_a_machine_that_has_gone_meanwhile_is_done_without(
    asked: list[list[str]], loop_settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Plan = driver.planned(JOB, loop_settings)
    assert (found.machines, found.size) == ([HERE], 1)
    assert asked == [["here", "gone"], ["here"]]
    assert "A machine has gone" in capsys.readouterr().out


def test_machines_that_keep_going_are_told(
    asked: list[list[str]], loop_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ROOM_WAIT_S", -1.0)
    with pytest.raises(TaskUnschedulableError):
        driver.planned(JOB, loop_settings)
