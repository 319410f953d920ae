"""What Label Studio finds by reading all tasks is found by an index or by the page, and is the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from integration.support.people import labeller

from labelloop.studio import StudioError
from labelloop.task_filters import LABELLED, UNLABELLED

CONFIG = """<View><Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="ball"/></RectangleLabels></View>"""

# The next task and the counts beside it, by Label Studio's own code and by ours, for two people.
EACH_WAY = """
import json
from datetime import timedelta
from provisioner import apps, django_app

ready = apps.Overrides.ready
apps.Overrides.ready = lambda config: None  # Label Studio as it is
django_app.setup()
from django.apps import apps as installed
from projects.functions import next_task
from projects.models import Project, ProjectManager
from projects.serializers import ProjectSerializer

kept = {
    "sampled": next_task._try_uncertainty_sampling,
    "counts": (ProjectSerializer.get_queue_total, ProjectSerializer.get_queue_done),
    "finished": ProjectManager.ANNOTATED_FIELDS["finished_task_number"],
}
ready(installed.get_app_config("provisioner"))
from provisioner import least_certain
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from tasks.models import Annotation, Prediction, Task, TaskLock
from users.models import User

admin = User.objects.get(email="admin@labelloop.local")
bea = User.objects.create_user(email="bea.growth@example.org", username="bea.g", password="correct horse 3")
answer = {}


def project_of(scores, title="growth", **fields):
    project = Project.objects.create(
        title=title, created_by=admin, organization=admin.active_organization, model_version="v0002",
        sampling="Uncertainty sampling", label_config='<View><Image name="image" value="$image"/></View>',
    )
    for number, score in enumerate(scores):
        task = Task.objects.create(project=project, data={"image": f"/{number}.jpg"})
        of_task = {"task": task, "project": project, "result": []}
        Prediction.objects.create(model_version="v0001", score=1 - score, **of_task)
        Prediction.objects.create(model_version="v0002", score=score, **of_task, **fields)
    return project, list(Task.objects.filter(project=project).order_by("id"))


def both(project, user, tasks):
    "The place of the next task among `tasks`, by Label Studio's code and by ours."
    found = []
    for way in (kept["sampled"], next_task._try_uncertainty_sampling):
        prepared = Task.objects.filter(project=project)
        open_, solved, *_ = next_task.get_not_solved_tasks_qs(user, project, prepared, False, "")
        with transaction.atomic():
            task = way(open_, project, solved, user, prepared)
        found.append(None if task is None else tasks.index(task))
    return found


def annotated(task, user, **fields):
    return Annotation.objects.create(task=task, project=task.project, completed_by=user, result=[], **fields)


def locked(task, user):
    return TaskLock.objects.create(task=task, user=user, expire_at=now() + timedelta(hours=1))


least_certain.FIRST = 2
scores = [0.5, 0.1, 0.9, 0.2, 0.3, 0.8, 0.4]
project, tasks = project_of(scores)
steps = answer["steps"] = [both(project, admin, tasks)]
annotated(tasks[1], admin)
steps.append(both(project, admin, tasks))
locked(tasks[3], bea)
locked(tasks[4], bea)
locked(tasks[6], bea)
steps.append(both(project, admin, tasks))  # beyond the first portion
steps.append(both(project, bea, tasks))  # hers is free for her
for task in (tasks[0], tasks[2], tasks[5]):
    locked(task, bea)
steps.append(both(project, admin, tasks))  # all are taken
other, others = project_of([0.6, 0.5, 0.4], "in clusters", cluster=3)
Prediction.objects.filter(task=others[2]).update(cluster=7)
annotated(others[1], admin)
Prediction.objects.filter(task=others[0]).update(cluster=7)
answer["clusters"] = both(other, admin, others)
bare, unpredicted = project_of([])[0], []
unpredicted.append(Task.objects.create(project=bare, data={"image": "/x.jpg"}))
answer["unpredicted"] = both(bare, admin, unpredicted)

asked = []
for count in (3, 40):
    grown, _ = project_of([n / 50 for n in range(count)], f"of {count}")
    prepared = Task.objects.filter(project=grown)
    open_, solved, *_ = next_task.get_not_solved_tasks_qs(admin, grown, prepared, False, "")
    with CaptureQueriesContext(connection) as queries:
        next_task._try_uncertainty_sampling(open_, grown, solved, admin, prepared)
    asked.append(len(queries))
    ordered = [q["sql"] for q in queries if "ORDER BY" in q["sql"] and "score" in q["sql"]]
answer["queries"], answer["ordered"] = asked, len(ordered)
answer["order"] = ordered[0].rsplit("ORDER BY", 1)[1]
with connection.cursor() as cursor:
    cursor.execute("EXPLAIN QUERY PLAN " + ordered[0].replace("%", "%%"))
    answer["plan"] = [row[3] for row in cursor.fetchall()]


class Asking:
    def __init__(self, user):
        self.user_id = user.id


counted, mine = project_of([0.1] * 6, "counted")
annotated(mine[0], admin)
annotated(mine[0], admin)
annotated(mine[1], bea)
annotated(mine[2], admin, was_cancelled=True)
annotated(mine[3], admin, was_cancelled=True)
annotated(mine[3], admin)
Task.objects.filter(pk__in=[mine[0].pk, mine[1].pk, mine[3].pk]).update(is_labeled=True)
Task.objects.filter(pk__in=[mine[2].pk, mine[4].pk, mine[5].pk]).update(is_labeled=False)
answer["counts"] = []
for queue in (counted.SkipQueue.REQUEUE_FOR_ME, counted.SkipQueue.IGNORE_SKIPPED):
    counted.skip_queue = queue
    for user in (admin, bea):
        theirs = [way(Asking(user), counted) for way in kept["counts"]]
        ours = [ProjectSerializer.get_queue_total(Asking(user), counted),
                ProjectSerializer.get_queue_done(Asking(user), counted)]
        answer["counts"].append([theirs, ours])
here = Project.objects.filter(pk=counted.pk)
answer["finished"] = [
    way(here).get().finished_task_number
    for way in (kept["finished"], ProjectManager.ANNOTATED_FIELDS["finished_task_number"])
]
for made in (project, other, bare, grown, counted):
    made.delete()
Project.objects.filter(title="of 3").delete()
bea.delete()
print("EACH" + json.dumps(answer))
"""


@pytest.fixture(scope="module")
def each_way(provisioned: LabelStudio) -> Any:
    return json.loads(provisioned.run_program(EACH_WAY, timeout=400).split("EACH")[1])


def test_the_next_task_is_label_studios_own(each_way: Any) -> None:
    theirs, ours = zip(*each_way["steps"], strict=True)
    assert theirs == (1, 3, 0, 3, None)
    assert ours == theirs
    assert each_way["unpredicted"] == [0, 0]


def test_predictions_in_clusters_go_label_studios_way(each_way: Any) -> None:
    """Of the cluster that she has done less of, though the score is higher."""
    theirs, ours = each_way["clusters"]
    assert ours == theirs == 2


def test_the_next_task_takes_as_many_queries_of_many_tasks_and_one_index(each_way: Any) -> None:
    few, many = each_way["queries"]
    assert few == many and each_way["ordered"] == 1
    score, number = each_way["order"].split(",")
    assert '"score"' in score and '"prediction"."id"' in number, "portions of equal scores leave none out"
    first = each_way["plan"][0]
    assert "prediction" in first and "labelloop_by_score" in first
    assert not any("B-TREE FOR ORDER BY" in line for line in each_way["plan"])


def test_the_counts_beside_a_task_are_label_studios_own(each_way: Any) -> None:
    theirs, ours = zip(*each_way["counts"], strict=True)
    assert theirs == ([5, 2], [4, 1], [5, 3], [4, 1])
    assert ours == theirs
    assert each_way["finished"] == [3, 3]


@pytest.fixture(scope="module")
def project(provisioned: LabelStudio) -> Iterator[int]:
    """Seven tasks: one is labelled twice, one skipped, one skipped and labelled, the last one labelled."""
    studio = provisioned.studio
    fields = {"title": "pages", "label_config": CONFIG}
    made = int(studio.request("POST", "/api/projects", json=fields)["id"])
    rows = [
        {"$undefined$": f"/data/local-files/?d=images/{n}.jpg"} if n % 2 else {"image": f"/{n}.jpg"}
        for n in range(7)
    ]
    studio.request("POST", f"/api/projects/{made}/import", json=rows)
    numbers = [task["id"] for task in studio.iter_tasks(made)]
    region = {
        "id": "r",
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "value": {"x": 1.5, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["ball"]},
    }
    for place, skipped in ((0, False), (0, False), (2, True), (3, True), (3, False), (6, False)):
        body = {"result": [region], "was_cancelled": skipped, "lead_time": 1.5}
        studio.request("POST", f"/api/tasks/{numbers[place]}/annotations/", json=body)
    yield made
    studio.request("DELETE", f"/api/projects/{made}/")


def test_tasks_and_labels_come_as_label_studio_lists_them(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    theirs = [{"id": task["id"], "data": task["data"]} for task in studio.iter_tasks(project)]
    assert theirs[1]["data"] == {"image": "/data/local-files/?d=images/1.jpg"}
    assert list(studio.all_tasks(project)) == theirs
    whole = list(studio.iter_tasks(project, LABELLED, fields="all", omit="drafts,predictions"))
    ours = list(studio.annotated_tasks(project))
    assert [len(task["annotations"]) for task in ours] == [2, 2, 1]
    for our, their in zip(ours, whole, strict=True):
        assert our == {name: their[name] for name in ("id", "data")} | {"annotations": our["annotations"]}
        for annotation, original in zip(our["annotations"], _by_id(their["annotations"]), strict=True):
            assert annotation == {name: original[name] for name in annotation}
            assert original.keys() - annotation.keys() == {"created_username", "created_ago"}


def _by_id(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(annotations, key=lambda row: row["id"])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_leave_none_out(
    provisioned: LabelStudio, project: int, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    studio = provisioned.studio
    every, labelled = list(studio.all_tasks(project)), list(studio.annotated_tasks(project))
    monkeypatch.setattr("labelloop.studio.LISTED_AT_ONCE", size)
    monkeypatch.setattr("labelloop.studio.LABELLED_AT_ONCE", size)
    assert list(studio.all_tasks(project)) == every and len(every) == 7
    assert list(studio.annotated_tasks(project)) == labelled


def test_the_counts_are_the_data_managers(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    kinds = (), (LABELLED,), (UNLABELLED,)
    theirs = [int(studio._tasks(project, by, 1)["total"]) for by in kinds]
    assert theirs == [7, 3, 4] == [studio.count_tasks(project, *by) for by in kinds]


def test_they_are_for_administrators_alone(provisioned: LabelStudio, project: int) -> None:
    ann = labeller(provisioned, "ann.pages@example.org")
    assert ann.get(f"/labelloop/projects/{project}/tasks?limit=5").status_code == 403
    assert ann.get(f"/labelloop/projects/{project}/counts").status_code == 403
    studio = provisioned.studio
    for ask in (lambda: list(studio.all_tasks(10**6)), lambda: studio.counts(10**6)):
        with pytest.raises(StudioError) as refused:
            ask()
        assert refused.value.status == 404
    with pytest.raises(StudioError, match="limit") as refused:
        studio.request("GET", f"/labelloop/projects/{project}/tasks", params={"limit": 1001})
    assert refused.value.status == 400
