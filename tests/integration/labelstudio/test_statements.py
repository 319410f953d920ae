"""What opening a task and submitting for it ask the database: nothing twice, nothing that others wait for."""

import json

from integration.support.labelstudio import LabelStudio

# Statements of a task's opening, of a submission and of a correction; and the keys that the project says its
# tasks' data have, then, and once a task's data has another key.
ASKED = """
import json
from provisioner import django_app

django_app.setup()
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from data_manager import managers
from projects.models import Project, ProjectSummary
from provisioner import task_columns
from rest_framework.authtoken.models import Token
from tasks.models import Prediction, Task
from users.models import User

admin = User.objects.get(email="admin@labelloop.local")
project = Project.objects.create(
    title="statements", created_by=admin, organization=admin.active_organization,
    label_config='<View><Image name="image" value="$image"/></View>',
)
tasks = [Task.objects.create(project=project, data={"image": f"/{n}.jpg"}) for n in range(3)]
for version, score in (("v0001", 0.25), ("v0002", 0.75)):
    of_it = {"model_version": version, "score": score, "result": []}
    Prediction.objects.create(task=tasks[0], project=project, **of_it)
client = Client(headers={"Authorization": f"Token {Token.objects.get(user=admin).key}", "Host": "127.0.0.1"})
answer = {"statements": {}}


def ask(name, method, path, body=None):
    with CaptureQueriesContext(connection) as asked:
        told = getattr(client, method)(path, body, content_type="application/json")
    assert told.status_code < 300, (told.status_code, told.content[:500])
    answer["statements"][name] = [row["sql"] for row in asked]
    return told.json()


def keys():
    return ProjectSummary.objects.get(project=project).all_data_columns


task = f"/api/tasks/{tasks[0].id}/"
ask("open", "get", task)
made = ask("submit", "post", f"{task}annotations/", {"result": []})
ask("correct", "patch", f"/api/annotations/{made['id']}/", {"result": [], "lead_time": 2.0})
answer["keys"] = keys()
answer["columns"] = []
for shown in ("v0001", None):
    Project.objects.filter(pk=project.pk).update(model_version=shown)
    columns = []
    for way in (managers.annotate_predictions_score, task_columns.with_score):
        found = Task.objects.filter(project=project)
        found.project = Project.objects.get(pk=project.pk)
        columns.append(sorted(way(found).values_list("id", "predictions_score")))
    answer["columns"].append(columns)
ask("change", "patch", task, {"data": {"image": "/0.jpg", "camera": 7}})
answer["then"] = keys()
stranger = Client(headers={"Authorization": "Token nobody", "Host": "127.0.0.1"})
answer["strangers"] = stranger.get(task).status_code
project.delete()
print("ASKED" + json.dumps(answer))
"""


def test_nothing_is_asked_twice_or_counted_in_vain(provisioned: LabelStudio) -> None:
    told = json.loads(provisioned.run_program(ASKED, timeout=300).split("ASKED")[1])
    for name, statements in told["statements"].items():
        tokens = [sql for sql in statements if 'FROM "authtoken_token"' in sql]
        assert len(tokens) == 1, f"{name}: whose token it is"
    opened = [sql for sql in told["statements"]["open"] if 'FROM "task" ' in sql]
    assert len(opened) == 2, "whether it may be seen, and all of it"
    submitted = told["statements"]["submit"]
    counted = [sql for sql in submitted if "UPDATE" in sql and '"all_data_columns" =' in sql]
    assert not counted, "everybody's submissions wait for the project's row"
    for label_studios, ours in told["columns"]:
        assert ours == label_studios
    assert told["columns"][0][1][0][1] == 0.25 and told["columns"][1][1][0][1] == 0.5
    assert told["keys"] == {"image": 3} and told["then"] == {"image": 3, "camera": 1}
    assert told["strangers"] == 401
