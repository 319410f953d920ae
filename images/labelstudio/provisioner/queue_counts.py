"""How many tasks are a person's to do, how many she has done, and how many are finished, counted by number.

Label Studio shows the first two beside the task's number, and so counts them for each page. Its statements
read all fields of all tasks and compare them, to count none twice; for the third it joins all tasks to their
project. A task that is not labelled, or that she annotated, is hers: these count the same without that.
"""

from typing import Any

from core.utils.db import SQCount
from django.db.models import OuterRef
from projects.models import ProjectManager
from projects.serializers import ProjectSerializer
from tasks.models import Annotation, Task


def count_by_number() -> None:
    """Has Label Studio's API count so."""
    ProjectSerializer.get_queue_total = _total
    ProjectSerializer.get_queue_done = _done
    ProjectManager.ANNOTATED_FIELDS["finished_task_number"] = _with_finished


def _with_finished(projects: Any) -> Any:
    """Projects, each with how many of its tasks are labelled."""
    finished = Task.objects.filter(project=OuterRef("id"), is_labeled=True).values_list("id")
    return projects.annotate(finished_task_number=SQCount(finished))


def _total(serializer: Any, project: Any) -> int:
    hers = _annotated(serializer, project).filter(task__is_labeled=True)
    left: int = project.tasks.filter(is_labeled=False).count()
    return left + _tasks(hers)


def _done(serializer: Any, project: Any) -> int:
    hers = _annotated(serializer, project)
    if project.skip_queue == project.SkipQueue.REQUEUE_FOR_ME:
        hers = hers.filter(was_cancelled=False)
    return _tasks(hers)


def _annotated(serializer: Any, project: Any) -> Any:
    return Annotation.objects.filter(task__project=project, completed_by=serializer.user_id)


def _tasks(annotations: Any) -> int:
    found: int = annotations.order_by().values("task").distinct().count()
    return found
