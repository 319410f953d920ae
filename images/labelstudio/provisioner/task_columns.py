"""The data manager's columns of a task, without a look at the first task to learn whose they all are.

Label Studio opens a task by the data manager's query for many. Three times it reads the first task and its
project on the way: for filters of which there are none, for the columns, and for the predictions' score.
"""

from typing import Any

from core.feature_flags import flag_set
from data_manager.managers import PreparedTaskManager, update_annotation_map
from django.db.models import Avg, Q

_BY_BACKEND = "ff_front_dev_1682_model_version_dropdown_070622_short"


def ask_once() -> None:
    """Has Label Studio read the first task for the columns alone."""
    label_studios = PreparedTaskManager.annotate_queryset

    def annotate(
        queryset: Any, fields_for_evaluation: Any = None, all_fields: bool = False, **more: Any
    ) -> Any:
        if not fields_for_evaluation and not all_fields:
            return queryset
        return label_studios(queryset, fields_for_evaluation, all_fields, **more)

    PreparedTaskManager.annotate_queryset = staticmethod(annotate)
    update_annotation_map({"predictions_score": with_score})


def with_score(tasks: Any) -> Any:
    """Tasks with the mean score of their predictions of the version that the project shows.

    tasks: a queryset, whose `project` is theirs; None without any task.
    """
    if tasks.project is None:
        return tasks
    if flag_set(_BY_BACKEND):
        versions = list(tasks.project.ml_backends.values_list("model_version", flat=True))
    else:
        shown = tasks.project.model_version
        versions = [] if shown is None else [shown]
    only = Q(predictions__model_version__in=versions) if versions else None
    return tasks.annotate(predictions_score=Avg("predictions__score", filter=only))
