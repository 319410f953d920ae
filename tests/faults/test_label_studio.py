"""A real Label Studio whose volume is full: what it acknowledged stays, what it could not keep it does not
acknowledge, and room alone heals."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.disks import small_disk
from integration.support.labelstudio import LabelStudio
from support import shapes

from labelloop.studio import StudioError

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system"),
]

TASKS = 30


def test_a_full_volume_of_label_studio(tmp_path: Path) -> None:
    with small_disk(tmp_path / "volumes" / "labelstudio", "96m") as fill:
        labelstudio = LabelStudio(tmp_path)
        (tmp_path / "configs" / "labels" / "shapes.xml").write_text(shapes.LABEL_CONFIG)
        labelstudio.environment["LABEL_CONFIG"] = "configs/labels/shapes.xml"
        try:
            labelstudio.start()
            labelstudio.provision(wait=5)
            _fill_and_free(labelstudio, fill)
        finally:
            labelstudio.stop()


def _fill_and_free(labelstudio: LabelStudio, fill: Callable[[], Path]) -> None:
    studio = labelstudio.studio
    tasks = [{"image": f"/data/local-files/?d=images/{number}.jpg"} for number in range(TASKS)]
    studio.request("POST", "/api/projects/1/import", json=tasks)
    ids = [task["id"] for task in studio.iter_tasks(1)]

    def submit(task: int) -> int:
        result = shapes.picture(task % 5).annotation()
        return int(studio.request("POST", f"/api/tasks/{task}/annotations/", json={"result": result})["id"])

    acknowledged = [submit(task) for task in ids[:5]]
    filler = fill()
    refused = 0
    for task in ids[5:25]:
        try:
            acknowledged.append(submit(task))
        except StudioError:
            refused += 1
    assert refused, "the disk was not full"
    filler.unlink()
    acknowledged += [submit(task) for task in ids[25:]]
    there = [row["id"] for task in studio.annotated_tasks(1) for row in task["annotations"]]
    assert sorted(there) == sorted(acknowledged)
    database = labelstudio.data / "label_studio.sqlite3"
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
