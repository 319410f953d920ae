"""Many rows at once: tasks of files, and predictions, are what Label Studio itself would have made."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from integration.support.labelstudio import LabelStudio
from integration.support.people import labeller
from support.unpredicted import without_prediction_of

from labelloop.studio import Row, Studio, StudioError
from labelloop.task_filters import UNLABELLED, where

VERSION = "v0003"
WANTED: Row = {"version": VERSION, "alone": False, "among": None}
BOX: Row = {
    "id": "b1",
    "from_name": "label",
    "to_name": "image",
    "type": "rectanglelabels",
    "original_width": 320,
    "original_height": 240,
    "score": 0.5,
    "value": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "rotation": 0, "rectanglelabels": ["ball"]},
}
CONFIG = """<View><Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="ball"/></RectangleLabels></View>"""

# Two projects with one folder: the tasks of one are made by Label Studio's own code. A webhook hears of both.
BOTH_WAYS = """
import json
import time
from pathlib import Path
from types import SimpleNamespace
from provisioner import django_app
django_app.setup()
from django.db import connection
from io_storages.localfiles.models import LocalFilesImportStorage as Storage
from io_storages.localfiles.models import LocalFilesImportStorageLink as Link
from labelloop.settings import get_settings
from projects.models import Project
from provisioner import in_turn, synchronisation
from tasks.models import Task
from users.models import User
from webhooks.models import Webhook
from webhooks import utils
from django.forms.models import model_to_dict

admin = User.objects.get(email="admin@labelloop.local")
folder = get_settings().images_dir / "both"
folder.mkdir()
for number in range(7):
    (folder / f"{number}.jpg").write_bytes(b"not read")
heard = []
utils.run_webhook_sync = lambda webhook, action, payload: heard.append((webhook.project_id, action, payload))
synchronisation.AT_ONCE = 3
pauses = []
in_turn.time = SimpleNamespace(
    monotonic=time.monotonic,
    sleep=lambda seconds: pauses.append((connection.in_atomic_block, 0 <= seconds <= 0.25)),
)


def made(scan):
    project = Project.objects.create(
        title="both", created_by=admin, organization=admin.active_organization, maximum_annotations=2,
        label_config='<View><Image name="image" value="$image"/></View>',
    )
    Webhook.objects.create(organization=project.organization, project=project, url="http://nobody.example/")
    Task.objects.create(project=project, data={"$undefined$": "/first.jpg", "more": 1})
    storage = Storage.objects.create(
        project=project, path=str(folder), use_blob_urls=True, recursive_scan=True, regex_filter=".*jpg"
    )
    storage.info_set_queued()
    scan(storage)
    storage.refresh_from_db()
    tasks = list(Task.objects.filter(project=project).order_by("id"))
    no_matter = {"id", "project", "created_at", "updated_at", "task", "storage"}
    rows = [{k: v for k, v in vars(task).items() if k[0] != "_" and k.removesuffix("_id") not in no_matter}
            for task in tasks]
    for row, task in zip(rows, tasks):
        row["inner_id"], row["dated"] = task.inner_id, task.created_at is not None is not task.updated_at
    links = list(Link.objects.filter(storage=storage).order_by("id"))
    summary = project.summary
    summary.refresh_from_db()
    numbers = [task.id for task in tasks]
    told = [
        (action, [numbers.index(task["id"]) for task in payload["tasks"]])
        for owner, action, payload in heard
        if owner == project.id
    ]
    meta = storage.meta
    return {
        "tasks": rows,
        "links": [model_to_dict(link, exclude=no_matter) for link in links],
        "linked": [numbers.index(link.task_id) for link in links],
        "summary": [summary.all_data_columns, summary.common_data_columns],
        "storage": [storage.status, storage.last_sync_count, sorted(meta), meta["tasks_existed"]],
        "told": told,
    }


Storage.iter_objects = lambda storage: iter(sorted(Path(storage.path).glob("*.jpg")))
by_label_studio = made(lambda storage: storage._scan_and_create_links(Link))
assert not pauses
by_us = made(lambda storage: storage.scan_and_create_links())
Project.objects.filter(title="both").delete()
print("BOTH" + json.dumps([by_label_studio, by_us, pauses], default=str))
"""


@pytest.fixture(scope="module")
def both_ways(provisioned: LabelStudio) -> Any:
    return json.loads(provisioned.run_program(BOTH_WAYS, timeout=400).split("BOTH")[1])


def test_tasks_links_counts_and_messages_are_those_of_label_studio(both_ways: Any) -> None:
    theirs, ours, _ = both_ways
    assert [task["inner_id"] for task in theirs["tasks"]] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert theirs["summary"] == [{"more": 1, "$undefined$": 8}, ["$undefined$"]]
    assert theirs["told"] == [["TASKS_CREATED", [1, 2, 3, 4, 5, 6, 7]]]
    assert theirs["storage"][:2] == ["completed", 7]
    assert ours == theirs


def test_the_database_is_left_to_others_after_each_portion(both_ways: Any) -> None:
    """7 files, 3 at once: three transactions, and none is open while it waits."""
    assert both_ways[2] == [[False, True]] * 3


_projects = count()


@pytest.fixture
def project(provisioned: LabelStudio) -> Iterator[int]:
    """A project with six tasks."""
    studio = provisioned.studio
    fields = {"title": f"many {next(_projects)}", "label_config": CONFIG}
    made = int(studio.request("POST", "/api/projects", json=fields)["id"])
    studio.request("POST", f"/api/projects/{made}/import", json=[{"image": f"/{n}.jpg"} for n in range(6)])
    yield made
    studio.request("DELETE", f"/api/projects/{made}/")


def numbers(studio: Studio, project: int) -> list[int]:
    return [task["id"] for task in studio.iter_tasks(project)]


def stored(label_studio: LabelStudio, project: int) -> Any:
    """All that the database has of the predictions, the tasks and the project, but for numbers and times."""
    no_matter = {"id", "task_id", "project_id", "created_at", "updated_at", "created_by_id", "title", "token"}
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3", timeout=30)) as database:
        database.row_factory = sqlite3.Row
        found: dict[str, list[Row]] = {}
        for table, column in (("prediction", "project_id"), ("task", "project_id"), ("project", "id")):
            rows = database.execute(f"SELECT * FROM {table} WHERE {column} = ? ORDER BY id", (project,))
            found[table] = [dict(row) for row in rows]
    changed = [row["updated_at"] for row in found["task"]]
    whose = [row["task_id"] - found["task"][0]["id"] for row in found["prediction"]]
    bare = {
        table: [{name: value for name, value in row.items() if name not in no_matter} for row in rows]
        for table, rows in found.items()
    }
    return bare, whose, changed


def test_predictions_are_stored_as_by_label_studios_own_import(provisioned: LabelStudio) -> None:
    studio, found, changed = provisioned.studio, [], []
    for ours in (False, True):
        fields = {"title": f"alike {ours}", "label_config": CONFIG}
        made = int(studio.request("POST", "/api/projects", json=fields)["id"])
        studio.request(
            "POST", f"/api/projects/{made}/import", json=[{"image": f"/{n}.jpg"} for n in range(4)]
        )
        tasks = numbers(studio, made)
        former = [{"task": task, "result": [], "model_version": "v0002"} for task in tasks[:2]]
        studio.import_predictions(made, former)
        before = stored(provisioned, made)[2]
        rows = [{"task": task, "result": [BOX], "score": 0.25} for task in tasks[1:]]
        if ours:
            assert studio.store_predictions(made, WANTED, rows) == {"created": 3, "refused": []}
        else:
            assert studio.import_predictions(made, [row | {"model_version": VERSION} for row in rows]) == 3
        rest, whose, after = stored(provisioned, made)
        found.append((rest, whose))
        changed.append(after != before)
        studio.request("DELETE", f"/api/projects/{made}/")
    assert [task["total_predictions"] for task in found[0][0]["task"]] == [1, 2, 1, 1]
    assert found[1] == found[0]
    assert changed[1] == changed[0]


def test_only_tasks_that_still_want_a_prediction_get_one(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    has_ours, has_others, labelled, deleted, free, other = numbers(studio, project)
    studio.import_predictions(project, [{"task": has_ours, "result": [], "model_version": VERSION}])
    studio.import_predictions(project, [{"task": has_others, "result": [], "model_version": f"{VERSION}x"}])
    studio.request("POST", f"/api/tasks/{labelled}/annotations/", json={"result": []})
    studio.request("DELETE", f"/api/tasks/{deleted}/")
    everyone = [has_ours, has_others, labelled, deleted, free, other]
    rows = [{"task": task, "result": [], "score": 0.5} for task in everyone]
    assert studio.store_predictions(project, WANTED | {"among": [other]}, rows)["created"] == 1
    assert studio.store_predictions(project, WANTED | {"alone": True}, rows)["created"] == 1
    assert studio.store_predictions(project, WANTED, rows)["created"] == 1
    assert studio.store_predictions(project, WANTED, rows)["created"] == 0
    counts = {task["id"]: task["total_predictions"] for task in studio.iter_tasks(project)}
    assert counts == {has_ours: 1, has_others: 2, labelled: 0, free: 1, other: 1}


def test_boxes_that_cannot_be_stored_are_refused_alone(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    first, second, third, *_ = numbers(studio, project)
    odd = [BOX | {"value": {"x": 1e999}}]
    rows = [{"task": first, "result": ["a box"]}, {"task": second, "result": [BOX]}]
    done = studio.store_predictions(project, WANTED, rows)
    assert done["created"] == 1 and [row["task"] for row in done["refused"]] == [first]
    assert "result.0" in done["refused"][0]["reason"]
    body = json.dumps(WANTED | {"rows": [{"task": third, "result": odd}]}).replace("Infinity", "1e999")
    path = f"/labelloop/projects/{project}/predictions"
    told = studio.request("POST", path, data=body, headers={"Content-Type": "application/json"})
    assert told["created"] == 0 and told["refused"][0]["task"] == third


def test_the_tasks_that_lack_one_are_those_of_the_data_manager(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    some = numbers(studio, project)
    studio.import_predictions(project, [{"task": some[2], "result": [], "model_version": VERSION}])
    studio.request("POST", f"/api/tasks/{some[4]}/annotations/", json={"result": []})
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as base, base:
        unnamed = json.dumps({"$undefined$": "/data/local-files/?d=images/x.jpg"})  # as a storage makes them
        base.execute("UPDATE task SET data = ? WHERE id = ?", (unnamed, some[1]))
    filters = UNLABELLED, without_prediction_of(VERSION)
    theirs = [{"id": task["id"], "data": task["data"]} for task in studio.iter_tasks(project, *filters)]
    assert theirs[1]["data"] == {"image": "/data/local-files/?d=images/x.jpg"}
    pages = list(studio.lacking(project, WANTED, 2))
    assert pages == [theirs[:2], theirs[2:]]
    assert studio.count_lacking(project, WANTED) == len(theirs) == 4
    among = where("id", "in_list", some[:2], "List")
    few = [{"id": t["id"], "data": t["data"]} for t in studio.iter_tasks(project, *filters, among)]
    assert list(studio.lacking(project, WANTED | {"among": some[:2]}, 500)) == [few]
    assert studio.count_lacking(project, WANTED | {"alone": True}) == 4
    assert studio.count_lacking(project, WANTED | {"among": []}) == 0


def test_neither_is_for_labellers_nor_of_a_project_that_is_not_there(
    provisioned: LabelStudio, project: int
) -> None:
    ann = labeller(provisioned, "ann.rows@example.org")
    for what in ("lacking", "predictions"):
        body = WANTED | {"rows": [], "limit": 1}
        assert ann.post(f"/labelloop/projects/{project}/{what}", **body).status_code == 403
        with pytest.raises(StudioError) as refused:
            provisioned.studio.request("POST", f"/labelloop/projects/{10**6}/{what}", json=body)
        assert refused.value.status == 404
    many = [{"task": 1, "result": []}] * 501
    with pytest.raises(StudioError, match="rows: .*500") as refused:
        provisioned.studio.store_predictions(project, WANTED, many)
    assert refused.value.status == 400


def test_a_projects_first_labels_are_all_counted(provisioned: LabelStudio, project: int) -> None:
    """Label Studio's own count of annotations that come together keeps those of the last box alone."""
    studio = provisioned.studio
    boxes = [
        BOX | {"id": str(n), "value": BOX["value"] | {"rectanglelabels": [label]}}
        for n, label in enumerate(("ball", "crate", "ball"))
    ]
    answers = [
        {"task": task, "annotations": [{"unique_id": str(uuid4()), "result": boxes}]}
        for task in numbers(studio, project)[:2]
    ]
    studio.request("POST", f"/labelloop/projects/{project}/intake", json={"items": answers})
    summary = studio.request("GET", f"/api/projects/{project}/summary/")
    assert summary["created_labels"] == {"label": {"ball": 4, "crate": 2}}
    assert summary["created_annotations"] == {"label|image|rectanglelabels": 6}
    assert [task["total_annotations"] for task in studio.iter_tasks(project)] == [1, 1, 0, 0, 0, 0]
