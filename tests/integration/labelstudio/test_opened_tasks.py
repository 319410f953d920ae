"""A task opened, an annotation submitted, skipped and corrected by our views: as by Label Studio's own."""

import json

from integration.support.labelstudio import LabelStudio

# Two tasks alike, one through Label Studio's views and one through ours: what is answered and what is stored.
ASKED = """
import json
from provisioner import django_app

django_app.setup()
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils.timezone import now
from io_storages.localfiles.models import (
    LocalFilesExportStorage, LocalFilesImportStorage, LocalFilesImportStorageLink,
)
from projects.models import Project, ProjectSummary
from rest_framework.authtoken.models import Token
from tasks.models import Annotation, AnnotationDraft, Prediction, Task
from users.models import User
from labelloop.settings import get_settings

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="a"/><Label value="b"/></RectangleLabels></View>'
)
admin = User.objects.get(email="admin@labelloop.local")
key = f"Token {Token.objects.get(user=admin).key}"
client = Client(headers={"Authorization": key, "Host": "127.0.0.1"})
OF_EACH = ("id", "task", "project", "inner_id", "unique_id", "annotation", "annotations_ids")


def box(label, x):
    value = {"x": x, "y": 5, "width": 10, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    of = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return [{"id": f"{label}{x}", "value": value, **of}]


def plain(value):
    '''Less numbers and times, by which twins differ.'''
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {
            key: plain(each)
            for key, each in value.items()
            if key not in OF_EACH and not key.endswith(("_at", "_ago")) and not key.startswith("parent_")
        }
    return value


def ask(path, method, body=None):
    answer = getattr(client, method)(path, body, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else {}


def stored(project, task):
    task = Task.objects.get(pk=task.pk)
    summary = ProjectSummary.objects.get(project=project)
    return {
        "task": [task.is_labeled, task.updated_by_id, task.data],
        "counts": [task.total_annotations, task.cancelled_annotations],
        "annotations": [
            [
                *(row.result, row.was_cancelled, row.ground_truth, row.completed_by_id, row.updated_by_id),
                *(row.result_count, row.prediction and row.prediction.get("model_version"), row.lead_time),
            ]
            for row in Annotation.objects.filter(task=task).order_by("id")
        ],
        "summary": [summary.created_annotations, summary.created_labels, summary.all_data_columns],
    }


def twin(number):
    project = Project.objects.create(
        title=f"twin {number}", created_by=admin, organization=admin.active_organization, label_config=CONFIG,
        model_version="v0001",
    )
    folder = get_settings().images_dir / "twins"
    folder.mkdir(parents=True, exist_ok=True)
    storage = LocalFilesImportStorage.objects.create(project=project, path=str(folder), use_blob_urls=True)
    task = Task.objects.create(project=project, data={"image": "/data/local-files/?d=images/twins/a.jpg"})
    LocalFilesImportStorageLink.create(task, f"{folder}/a.jpg", storage)
    for version, score in (("v0001", 0.25), ("v0002", 0.75)):
        of_it = {"model_version": version, "score": score, "result": box("a", 1)}
        Prediction.objects.create(task=task, project=project, **of_it)
    AnnotationDraft.objects.create(task=task, user=admin, result=box("b", 2))
    return project, task


(their_project, their_task), (our_project, our_task) = twin(1), twin(2)
told = {"answers": [], "stored": [], "statements": {}}


def step(name, method, path, numbers, body=None):
    their_path, our_path = (path.format(number) for number in numbers)
    with override_settings(ROOT_URLCONF="core.urls"):
        one = ask(their_path, method, body)
    with CaptureQueriesContext(connection) as asked:
        two = ask(our_path, method, body)
    told["statements"][name] = [row["sql"] for row in asked]
    told["answers"].append([name, one[0], two[0], plain(one[1]), plain(two[1])])
    twins = ((their_project, their_task), (our_project, our_task))
    told["stored"].append([name, *(plain(stored(*each)) for each in twins)])
    return one[1].get("id"), two[1].get("id")


tasks = (their_task.pk, our_task.pk)
opening, submitting, correcting = "/api/tasks/{}", "/api/tasks/{}/annotations/", "/api/annotations/{}/"
step("open", "get", opening, tasks)
first = step("submit", "post", submitting, tasks, {"result": box("a", 3)})
skipped = step("skip", "post", submitting, tasks, {"result": [], "was_cancelled": True})
step("correct", "patch", correcting, first, {"result": box("b", 4), "lead_time": 3.5})
step("truth", "patch", correcting, first, {"ground_truth": True})
step("unskip", "patch", correcting, skipped, {"was_cancelled": False})
step("see", "get", correcting, first)
step("open again", "get", opening, tasks)
told["projects"] = [
    client.get(f"/api/tasks/{our_task.pk}/?project={project.pk}").status_code
    for project in (our_project, their_project)
]
told["nobody's"] = client.get("/api/tasks/987654321").status_code
told["slashes"] = [client.get(path).status_code for path in ("/api/nothing", "/api/version", "/version")]
step("whole", "put", correcting, first, {"result": box("b", 6), "was_cancelled": False})
step("gone from it", "delete", correcting, skipped)

# What is exported: once, by a project's one storage; and nothing without any.
exported = []
LocalFilesExportStorage.save_annotation = lambda storage, annotation: exported.append(storage.project_id)
ask(correcting.format(first[1]), "patch", {"result": box("b", 7)})
told["exported"] = [len(exported)]
LocalFilesExportStorage.objects.create(project=our_project, path=str(get_settings().images_dir / "twins"))
ask(correcting.format(first[1]), "patch", {"result": box("b", 8)})
told["exported"].append(len(exported))

# Others are at work while an annotation of the task is being submitted, or corrected.
save = Annotation.save


def another(number, **kept):
    made = {"task_id": our_task.pk, "project_id": our_project.pk, "completed_by_id": admin.id, "result": []}
    Annotation.objects.bulk_create([Annotation(**made, **kept) for _ in range(number)])
    name = "cancelled_annotations" if kept else "total_annotations"
    counted = {name: F(name) + number}
    Task.objects.filter(pk=our_task.pk).update(meta={"changed": "meanwhile"}, **counted)


def meanwhile(work):
    def saved(self, *args, **kwargs):
        Annotation.save = save
        work()
        return save(self, *args, **kwargs)

    Annotation.save = saved


def counted():
    task, rows = Task.objects.get(pk=our_task.pk), Annotation.objects.filter(task=our_task)
    told["counted"].append([
        [task.total_annotations, task.cancelled_annotations],
        [rows.filter(was_cancelled=False).count(), rows.filter(was_cancelled=True).count()],
    ])


told["counted"] = []
meanwhile(lambda: another(2))
ask(submitting.format(our_task.pk), "post", {"result": [], "was_cancelled": True})
counted()
meanwhile(lambda: another(3, was_cancelled=True))
ask(submitting.format(our_task.pk), "post", {"result": box("a", 9)})
counted()
meanwhile(lambda: another(1, was_cancelled=True))
ask(correcting.format(first[1]), "patch", {"result": box("b", 5)})
counted()
told["meta"] = Task.objects.get(pk=our_task.pk).meta
# The annotation goes to another task: the one that it was of is counted, and found by who looks for changes.
other = Task.objects.create(project=our_project, data={"image": "/other.jpg"})
began = now()
ask(correcting.format(first[1]), "patch", {"task": other.pk})
counted()
told["touched"] = [Task.objects.get(pk=task.pk).updated_at > began for task in (our_task, other)]
meanwhile(lambda: Annotation.objects.filter(pk=first[1]).delete())
told["deleted"] = [
    ask(correcting.format(first[1]), "patch", {"result": box("b", 5)})[0],
    Annotation.objects.filter(pk=first[1]).count(),
]
for project in (their_project, our_project):
    project.delete()
print("ASKED" + json.dumps(told))
"""


def test_our_views_are_label_studios_in_fewer_statements(provisioned: LabelStudio) -> None:
    told = json.loads(provisioned.run_program(ASKED, timeout=300).split("ASKED")[1])
    for name, their_status, our_status, theirs, ours in told["answers"]:
        assert our_status == their_status < 300, f"{name}: {our_status}"
        assert ours == theirs, name
    for name, theirs, ours in told["stored"]:
        assert ours == theirs, name
    opened = next(row[4] for row in told["answers"] if row[0] == "open")
    assert opened["storage_filename"].endswith("/twins/a.jpg") and len(opened["predictions"]) == 2
    assert opened["drafts"] and opened["predictions_score"] == 0.25
    asked = {name: len(statements) for name, statements in told["statements"].items()}
    assert asked["open"] <= 15 and asked["submit"] <= 32 and asked["correct"] <= 25, asked
    begun = [sql for sql in told["statements"]["open"] if "BEGIN" in sql]
    assert not begun, "on SQLite, it waits for whoever writes"
    assert told["projects"] == [200, 404] and told["nobody's"] == 404
    assert told["slashes"] == [404, 200, 200]
    assert told["exported"] == [0, 1]
    assert told["meta"] == {"changed": "meanwhile"}, "a correction wrote the task as it had been"
    for said, there in told["counted"]:
        assert said == there, told["counted"]
    assert told["touched"] == [True, True]
    assert told["deleted"] == [404, 0], "a correction brought it back"
