"""The commands of the README and docs/ that need a stack, each as it is written there."""

import os
import subprocess
from pathlib import Path

import pytest
from support import datasets, shapes
from support.documented_commands import STACK
from support.stack import Stack, wait_for

from labelloop.task_filters import LABELLED

COMMAND_S = 240
SAYS = {
    "make status": "Project 1: labelloop",
    "make models": "v0000",
    "make import": "new image",
    "make predict": "image",
    "make export FORMAT=coco": "as coco in volumes/rounds/exports/1-coco-",
    "make rollback VERSION=v0000": "v0000",
    "make cancel": "has no open round",
    "make restart": "labelloop is up",
}
"""What a command's output has when it did its work."""


@pytest.fixture(scope="module")
def labelled(stack: Stack, pictures: dict[str, shapes.Picture]) -> Stack:
    """With at least one submitted annotation, whichever tests ran before."""
    studio = stack.studio()
    tasks = wait_for("tasks", lambda: list(studio.iter_tasks(1, fields="task_only", page_size=100)), 90)
    if not studio.count_tasks(1, LABELLED):
        name = tasks[0]["data"]["image"].rsplit("/", 1)[1]
        result = {"result": pictures[name].annotation()}
        studio.request("POST", f"/api/tasks/{tasks[0]['id']}/annotations", json=result)
    return stack


@pytest.mark.parametrize("command", STACK)
def test_the_command_does_what_the_page_says(command: str, labelled: Stack) -> None:
    done = subprocess.run(
        command,
        shell=True,
        cwd=labelled.home,
        env={**os.environ, "COMPOSE_PROJECT_NAME": labelled.name, "RUNTIME": labelled.runtime},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
    assert SAYS.get(command, "") in done.stdout


def test_labels_that_exist_are_brought_from_a_folder_outside(labelled: Stack, tmp_path: Path) -> None:
    """The trainer's container cannot see it by itself, nor write the images."""
    dataset = datasets.yolo(tmp_path / "my set")
    before = labelled.studio().count_tasks(1)
    assert "Nothing is changed yet: YES=1 does it." in labelled.run("import", DATASET=dataset)
    assert labelled.studio().count_tasks(1) == before
    told = labelled.run("import", DATASET=dataset, YES=1)
    assert "4 new tasks, 4 annotations" in told, told
    assert (labelled.images / "my-set" / "images" / "negative.png").is_file()
    assert "Nothing to do." in labelled.run("import", DATASET=dataset, YES=1)
    labelled.run("import")
    assert labelled.studio().count_tasks(1) == before + 4
