"""Backup, restore and upgrade: what comes back is the state of the backup or, on failure, the former one.

Goes last, and on from whatever the tests before it have left; alone, it begins with a fresh stack.
"""

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import kept, shapes
from support.stack import Stack, wait_for

from labelloop.registry import Registry
from labelloop.task_filters import UNLABELLED

SERVICES = ("labelstudio", "trainer", "mlbackend")


def state_of(stack: Stack) -> dict[str, Any]:
    """What a person would miss: annotations, rounds, models and the one in service, settings."""
    models = Registry(stack.home / "volumes/models").project(1)
    rounds = stack.query("trainer", "rounds/rounds.sqlite3", "select id, state, verdict from rounds")
    labels = stack.query(
        "labelstudio",
        "labelstudio/label_studio.sqlite3",
        "select id, task_id, result, was_cancelled from task_completion order by id",
    )
    return {
        "annotations": labels,
        "rounds": rounds,
        "versions": models.versions(),
        "champion": models.champion(),
        "settings": (stack.home / "configs/local.env").read_text(),
    }


def label(stack: Stack, count: int) -> None:
    studio = stack.studio()
    for task, _ in zip(studio.iter_tasks(1, UNLABELLED), range(count), strict=False):
        studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": []})


def check_healthy(stack: Stack) -> None:
    told = stack.run("status", check=False)
    for service in SERVICES:
        assert f"{service:<12} healthy" in told, told


@pytest.fixture(scope="module")
def archive(stack: Stack, pictures: Mapping[str, shapes.Picture]) -> Path:
    """A backup of two labels more than there were, which more labels and a rollback come after."""
    shapes.save(stack.images / "kept", 8, start=400)
    wait_for("tasks to label", lambda: stack.studio().count_tasks(1, UNLABELLED) >= 8, 120)
    label(stack, 2)
    there = stack.archives()
    stack.run("backup")
    [made] = stack.archives() - there
    return made


@pytest.fixture(scope="module")
def backed_up(stack: Stack, archive: Path) -> dict[str, Any]:
    """The state at the backup; nobody has labelled since."""
    return state_of(stack)


def test_a_backup_is_private_and_says_what_it_holds(
    stack: Stack, archive: Path, backed_up: dict[str, Any]
) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    manifest = json.loads(kept.members(archive)["manifest.json"])
    assert manifest["counts"]["annotations"] == len([row for row in backed_up["annotations"] if not row[3]])
    assert manifest["counts"]["models"] == len(list((stack.home / "volumes/models").glob("*/v[0-9]*")))
    assert manifest["version"]["label_studio"]


def test_a_damaged_archive_changes_nothing(stack: Stack, archive: Path, backed_up: dict[str, Any]) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged = stack.home / "damaged.tar.gz"
    damaged.write_bytes(data)
    told = stack.run("restore", check=False, FILE=damaged)
    assert "FAIL" in told and "nothing is changed" in told, told
    assert state_of(stack) == backed_up
    assert not list((stack.home / "volumes/backups").glob("replaced-*"))
    check_healthy(stack)


def test_a_restore_brings_back_exactly_the_state_of_the_backup(
    stack: Stack, archive: Path, backed_up: dict[str, Any]
) -> None:
    label(stack, 3)
    local = stack.home / "configs/local.env"
    local.write_text(local.read_text() + "SCORE_THRESHOLD=0.9\n")
    stack.run("restore", FILE=archive.name)
    assert state_of(stack) == backed_up
    check_healthy(stack)
    [replaced] = (stack.home / "volumes/backups").glob("replaced-*")
    assert "SCORE_THRESHOLD=0.9" in (replaced / "configs/local.env").read_text()
    label(stack, 1)
    assert len(state_of(stack)["annotations"]) == len(backed_up["annotations"]) + 1


def test_a_restore_that_does_not_come_up_brings_the_former_state_back(stack: Stack, archive: Path) -> None:
    """Whole and well summed, but its settings are none that the stack starts with."""
    before = state_of(stack)
    bad = kept.rewrite(archive, stack.home / "bad.tar.gz", {"configs/local.env": b"not a setting\n"})
    told = stack.run("restore", check=False, FILE=bad)
    assert "FAIL" in told and "The former state is back and runs" in told, told
    assert state_of(stack) == before
    check_healthy(stack)


def test_an_upgrade_to_the_same_version_keeps_everything(stack: Stack) -> None:
    before, there = state_of(stack), stack.archives()
    stack.run("upgrade")
    assert state_of(stack) == before
    assert len(stack.archives() - there) == 1
    check_healthy(stack)
