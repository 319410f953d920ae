"""A program of Label Studio's in which two write the same at once."""

# Two threads make tasks of the same files, and then predictions for the same tasks. Then somebody submits
# while labels are taken in, and while a task's place is taken; and files are noted in the order of a set.
TWICE = """
import json
import threading

from provisioner import django_app

django_app.setup()
from labelloop.settings import get_settings
from provisioner import start

start.prepare()
from django.db import connection, connections, transaction
from io_storages.localfiles.models import LocalFilesImportStorage as Storage
from projects.models import Project
from provisioner import double_tasks, image_tasks, intake, predictions, synchronisation
from rest_framework.test import APIRequestFactory, force_authenticate
from tasks.models import Annotation, Prediction, Task
from users.models import User

admin = User.objects.get(email="admin@labelloop.local")
folder = get_settings().images_dir / "twice"
folder.mkdir(parents=True)
for number in range(3):
    (folder / f"{number}.jpg").write_bytes(b"not read")
project = Project.objects.create(
    title="twice", created_by=admin, organization=admin.active_organization,
    label_config='<View><Image name="image" value="$image"/></View>',
)
storage = Storage.objects.create(
    project=project, path=str(folder), use_blob_urls=True, recursive_scan=True, regex_filter=".*jpg"
)

def both(work):
    "What two threads are given by `work`, each with a connection of its own."
    given = []

    def run():
        try:
            given.append(work())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return given

def meeting(function):
    "The function, in which one waits a moment for the other: they meet unless one is kept waiting before."
    together = threading.Barrier(2)

    def met(*arguments):
        try:
            together.wait(1)
        except threading.BrokenBarrierError:
            pass
        return function(*arguments)

    return met

synchronisation._Synchronisation._make = meeting(synchronisation._Synchronisation._make)
seen = threading.Barrier(2)
Storage.iter_keys = lambda storage: sorted(map(str, folder.glob("*.jpg")))

def twin(path):
    "Both have found that no file has a task before either makes one."
    if path.name == "2.jpg":
        seen.wait(60)

storage.info_set_queued()
asked = [Storage.objects.get(pk=storage.pk) for _ in range(2)]
both(lambda: synchronisation.synchronise(asked.pop(), twin))
tasks = list(Task.objects.filter(project=project).order_by("id"))
rows = [{"task": task.id, "result": [], "score": 0.5} for task in tasks]

def store():
    body = {"version": "v0001", "rows": rows}
    request = APIRequestFactory().post("/", body, format="json")
    force_authenticate(request, admin)
    return predictions.store(request, project_id=project.id).data["created"]

predictions.count_anew = meeting(predictions.count_anew)
created = both(store)

def submit():
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '10s'")
        Annotation.objects.create(task=tasks[0], project=project, completed_by=admin, result=[])
        said.append("submitted")
    except Exception as error:
        said.append(str(error))
    finally:
        connections.close_all()

said, noted = [], []
with transaction.atomic():
    intake.locked(project.id)
    person = threading.Thread(target=submit)
    person.start()
    person.join(60)

def note(execute, statement, rows, many, context):
    if many:
        noted.extend(row[1] for row in rows)
    return execute(statement, rows, many, context)

with connection.execute_wrapper(note):
    images = image_tasks.ProjectImages(project.id, get_settings(), set())
    images.learn(f"images/twice/{number}.jpg" for number in (2, 0, 1))

# Somebody submits for a task in the very moment in which another one takes its place.
late = []

def submit_late():
    try:
        Annotation.objects.create(task=tasks[1], project=project, completed_by=admin, result=[{"id": "late"}])
        late.append("submitted")
    except Exception as error:
        late.append("refused")
    finally:
        connections.close_all()

def meanwhile(*_):
    person.start()
    person.join(2)
    return True

person = threading.Thread(target=submit_late)
double_tasks._says_no_more = meanwhile
again = Task.objects.create(project=project, data=tasks[1].data)
double_tasks.settle(project, [(again.id, again.data)])
person.join(60)
late.append(Annotation.objects.filter(project=project, result__contains="late").count())
print("TWICE" + json.dumps({
    "late": late,
    "inner": [task.inner_id for task in tasks],
    "created": sorted(created),
    "said": said,
    "noted": noted,
    "predictions": Prediction.objects.filter(project=project).count(),
    "counts": list(Task.objects.filter(project=project).values_list("total_predictions", flat=True)),
    "ours": sorted(t for t in connection.introspection.table_names() if t.startswith("labelloop_")),
}))
"""
