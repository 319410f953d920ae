"""Storing predictions takes time in the predictions, not in the project's tasks."""

import sqlite3
from contextlib import closing

import pytest
from integration.support.labelstudio import LabelStudio

from labelloop.studio import StudioError


def test_only_the_tasks_that_predictions_are_for_are_counted_anew(provisioned: LabelStudio) -> None:
    studio = provisioned.studio
    xml = studio.project(1)["label_config"]
    made = studio.request("POST", "/api/projects", json={"title": "predictions", "label_config": xml})["id"]
    rows = [{"image": f"/{number}.jpg"} for number in range(3)]
    studio.request("POST", f"/api/projects/{made}/import", json=rows)
    predicted, untouched, _ = (task["id"] for task in studio.iter_tasks(made))
    with (
        closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database,
        database,
    ):
        database.execute("UPDATE task SET total_predictions = 99 WHERE id = ?", (untouched,))
    row = {"task": predicted, "result": [], "score": 0.5, "model_version": "v0001"}
    assert studio.import_predictions(made, [row]) == 1
    counts = {task["id"]: task["total_predictions"] for task in studio.iter_tasks(made)}
    assert (counts[predicted], counts[untouched]) == (1, 99)


def test_a_prediction_for_a_task_that_is_not_there_is_refused(provisioned: LabelStudio) -> None:
    row = {"task": 10**9, "result": [], "score": 0.5, "model_version": "v0001"}
    with pytest.raises(StudioError) as refused:
        provisioned.studio.import_predictions(1, [row])
    assert refused.value.status == 400
