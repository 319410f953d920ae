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
from projects.models import Project, ProjectSummary
from rest_framework.authtoken.models import Token
from tasks.models import Task
from users.models import User

admin = User.objects.get(email="admin@labelloop.local")
project = Project.objects.create(
    title="statements", created_by=admin, organization=admin.active_organization,
    label_config='<View><Image name="image" value="$image"/></View>',
)
tasks = [Task.objects.create(project=project, data={"image": f"/{n}.jpg"}) for n in range(3)]
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
ask("change", "patch", task, {"data": {"image": "/0.jpg", "camera": 7}})
answer["then"] = keys()
stranger = Client(headers={"Authorization": "Token nobody", "Host": "127.0.0.1"})
answer["strangers"] = stranger.get(task).status_code
project.delete()
print("ASKED" + json.dumps(answer))
"""


def test_nothing_is_asked_twice_or_counted_in_vain(provisioned: LabelStudio) -> None:
    told = json.loads(provisioned.run_program(ASKED).split("ASKED")[1])
    for name, statements in told["statements"].items():
        tokens = [sql for sql in statements if 'FROM "authtoken_token"' in sql]
        assert len(tokens) == 1, f"{name}: whose token it is"
    submitted = told["statements"]["submit"]
    counted = [sql for sql in submitted if "UPDATE" in sql and '"all_data_columns" =' in sql]
    assert not counted, "everybody's submissions wait for the project's row"
    assert told["keys"] == {"image": 3} and told["then"] == {"image": 3, "camera": 1}
    assert told["strangers"] == 401
