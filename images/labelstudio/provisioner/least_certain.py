"""The next task of uncertainty sampling, found without looking at all tasks.

Label Studio counts the tasks that have a prediction of the project's version, sorts them all by score, and
reads the numbers of all to take the first. Here an index of `indexes` gives them in that order, and only so
many are read as are needed: the same task, in a time that does not grow with their number.
"""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from projects.functions import next_task
from tasks.models import Prediction, Task

FIRST, TIMES = 20, 10
"""So many tasks are asked for at first, and each time so many times as many: others may have taken them."""


def take_few() -> None:
    """Has Label Studio sample so, but where predictions are in clusters or it draws among people."""
    label_studios = next_task._try_uncertainty_sampling

    def sampled(tasks: QuerySet[Any], project: Any, solved: Any, user: Any, prepared: Any) -> Any:
        version = project.model_version
        predicted = Prediction.objects.filter(project=project, model_version=version)
        if predicted.filter(cluster__isnull=False).exists() or project.annotators().count() > 1:
            return label_studios(tasks, project, solved, user, prepared)
        by_score = tasks.filter(
            predictions__project=project,
            predictions__model_version=version,
            predictions__cluster__isnull=True,
        ).order_by("predictions__score", "predictions__id")  # of equal scores, each portion goes on
        numbers = in_portions(by_score.values_list("id", flat=True))
        first = next(numbers, None)
        if first is None:  # as Label Studio does it then
            return next_task._get_random_unlocked(tasks, user)
        return _free(first, user) or next(filter(None, (_free(number, user) for number in numbers)), None)

    next_task._try_uncertainty_sampling = sampled


def in_portions(rows: QuerySet[Any]) -> Iterator[Any]:
    """What a query finds, asked for in portions that grow."""
    start, size = 0, FIRST
    while True:
        portion = list(rows[start : start + size])
        yield from portion
        if len(portion) < size:
            return
        start, size = start + size, size * TIMES


def _free(number: int, user: Any) -> Any:
    """The task, unless it is before somebody else, or gone."""
    task = Task.objects.select_for_update(skip_locked=True).filter(pk=number).first()
    return None if task is None or task.has_lock(user) else task
