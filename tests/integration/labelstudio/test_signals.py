"""Deleting a project or tasks in Label Studio leaves the counts of other projects right."""

from collections.abc import Callable

from integration.support.labelstudio import LabelStudio

COUNTS = """
from threading import Event, Thread
from labelloop.settings import Settings
from provisioner import account, database, django_app, template

database.copy_template(Settings().labelstudio_dir / "label_studio.sqlite3", template.template_path())
django_app.setup()
account.ensure_account(Settings())
from django.db.models.signals import pre_delete
from projects.api import ProjectAPI
from projects.models import Project
from tasks.models import Prediction, Task
from users.models import User

admin = User.objects.get()


def project():
    return Project.objects.create(title="p", created_by=admin, organization=admin.active_organization)


def task_with_predictions(count):
    task = Task.objects.create(data={"image": "/a.jpg"}, project=kept)
    for _ in range(count):
        Prediction.objects.create(task=task, project=kept, result=[])
    return task


def told(word, task):
    print("COUNT", word, Task.objects.get(pk=task.pk).total_predictions)


kept = project()
task = task_with_predictions(3)
ProjectAPI().perform_destroy(project())
task.predictions.first().delete()
told("after", task)

deleting, go_on = Event(), Event()
going = project()


def slow_delete():
    deleting.set()
    go_on.wait(30)


going.delete = slow_delete
thread = Thread(target=ProjectAPI().perform_destroy, args=(going,))
thread.start()
deleting.wait(30)
task.predictions.first().delete()
go_on.set()
thread.join(30)
told("meanwhile", task)

seen = []
pre_delete.connect(lambda sender, **_: seen.append(sender.__name__), sender=Task, weak=False)
ProjectAPI().perform_destroy(kept)
print("SEEN", *seen)
"""


def test_a_deletion_hushes_the_signals_for_itself_alone(fresh: Callable[[], LabelStudio]) -> None:
    told = fresh().run_program(COUNTS, timeout=120).splitlines()
    assert [line for line in told if line.startswith(("COUNT", "SEEN"))] == [
        "COUNT after 2",
        "COUNT meanwhile 1",
        "SEEN",
    ]
