"""Label Studio's counts of many tasks, of a project's labels and of its data's keys, brought up to date.

Label Studio has functions for all. The one for tasks writes a condition for each task into its statement,
and gives most of the time of storing predictions to that. The one for labels forgets, of the first
annotations of a project that come together, all labels but those of the last box. The one for keys of tasks'
data counts them anew whenever a task is saved: three times for each annotation, in the project's one row, for
which all who submit wait.
"""

from collections.abc import Collection, Sequence
from typing import Any

import tasks.models
from django.db.models import Count, IntegerField, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from tasks.models import Annotation, Prediction, Task


def leave_keys_alone() -> None:
    """Has Label Studio count the keys of a task's data only when it may have saved others."""
    tasks.models._task_data_is_not_updated = lambda fields: fields is not None and "data" not in fields


def count_anew(tasks: Collection[int]) -> None:
    """Sets how many annotations, skipped ones and predictions these tasks have. tasks: their numbers."""
    Task.objects.filter(id__in=tasks).update(
        total_annotations=_number(Annotation.objects.filter(was_cancelled=False)),
        cancelled_annotations=_number(Annotation.objects.filter(was_cancelled=True)),
        total_predictions=_number(Prediction.objects.all()),
    )


def last_inner_id(project: Any) -> int:
    """The highest number that a task has within the project, 0 without any."""
    return Task.objects.filter(project=project).aggregate(last=Max("inner_id"))["last"] or 0


def _number(rows: QuerySet[Any]) -> Any:
    """How many of these rows a task has, as an expression of an update of tasks."""
    of_the_task = rows.filter(task=OuterRef("pk")).order_by().values("task")
    counted = of_the_task.annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def add_to_summary(summary: Any, annotations: Sequence[Any]) -> None:
    """Adds annotations that were stored to what a project's summary says of its labels."""
    for annotation in annotations:
        for region in annotation.result:
            if isinstance(region, dict) and "from_name" in region:
                summary.created_labels.setdefault(region["from_name"], {})
    summary.update_created_annotations_and_labels(annotations)
