"""What becomes of the work of somebody who is deactivated, removed, or deleted as a user."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from integration.labelstudio.test_dashboard_people import change, database_of, remove
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, labeller

from labelloop.labels import parse_label_config
from trainer.dashboard.ledger import measure
from trainer.dashboard.people import Person as Known
from trainer.dataset.collector import newest_submitted
from trainer.judging.effort import Work

LABEL_CONFIG = """<View><Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="ball"/></RectangleLabels></View>"""

_numbers = itertools.count()


def region(x: float) -> dict[str, object]:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["ball"]}
    size = {"original_width": 640, "original_height": 480}
    return {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value} | size


@pytest.fixture
def ann(provisioned: LabelStudio) -> Person:
    return labeller(provisioned, f"leaves{next(_numbers)}@example.org")


@pytest.fixture
def labelled(provisioned: LabelStudio, ann: Person) -> Iterator[tuple[int, int]]:
    """A project with two tasks, and the first: Ann has accepted a box there and drawn one. On the second she
    has a draft.
    """
    studio = provisioned.studio
    fields = {"title": "left work", "label_config": LABEL_CONFIG}
    project = int(studio.request("POST", "/api/projects", json=fields)["id"])
    data = [{"image": f"/data/local-files/?d=images/{number}.png"} for number in range(2)]
    studio.request("POST", f"/api/projects/{project}/import", json=data)
    first, second = sorted(int(task["id"]) for task in studio.iter_tasks(project))
    proposed = {"task": first, "result": [region(10)], "score": 0.5, "model_version": "v0001"}
    studio.import_predictions(project, [proposed])
    made = ann.post(f"/api/tasks/{first}/annotations", result=[region(10), region(60)], lead_time=9.5)
    assert made.status_code == 201, made.text
    assert ann.post(f"/api/tasks/{second}/drafts", result=[region(20)]).status_code == 201
    yield project, first
    studio.request("DELETE", f"/api/projects/{project}")


@pytest.mark.parametrize("way", ["deactivated", "removed", "deleted"])
def test_her_labels_stay_and_count_and_only_a_deleted_user_loses_her_name_and_drafts(
    provisioned: LabelStudio, ann: Person, labelled: tuple[int, int], way: str
) -> None:
    project, task = labelled
    studio, her = provisioned.studio, ann.id
    known = Known(id=her, email=ann.email, administrator=False, stamp="")
    if way == "deactivated":
        change(provisioned, "update htx_user set is_active = false where id = ?", known)
    elif way == "removed":
        remove(provisioned, known)
    else:
        studio.request("DELETE", f"/api/users/{her}/")
    assert ann.get("/api/projects").status_code in (401, 403), "she is out"

    tasks = list(studio.annotated_tasks(project, predictions=True))
    annotation = newest_submitted(tasks[0]["annotations"])
    assert annotation is not None and len(annotation["result"]) == 2, "what rounds learn from"
    named = annotation["completed_by"]
    assert (named["id"] if isinstance(named, dict) else named) == (None if way == "deleted" else her)
    (effort,) = measure(tasks, parse_label_config(LABEL_CONFIG))
    assert (effort.work, effort.lead_times) == (Work(accepted=1, drawn=1), (9.5,)), "what Effort shows"
    with closing(sqlite3.connect(database_of(provisioned), timeout=30)) as database:
        query = "select count(*) from tasks_annotationdraft where task_id = ?"
        (drafts,) = database.execute(query, (task + 1,)).fetchone()
    assert drafts == (0 if way == "deleted" else 1)
