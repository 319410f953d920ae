"""Predictions for many tasks: which tasks lack one, and many stored at once, for the trainer.

Label Studio's own API counts the whole project for each page of tasks, and takes a hundredth of a second for
each task that it lists and each prediction that it stores.
"""

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from pydantic import BaseModel, Field, ValidationError
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Prediction, Task

from provisioner.counts import count_anew
from provisioner.in_turn import one_at_a_time
from provisioner.intake import Finite, Results, first_fault, refused
from provisioner.people import Administrators
from provisioner.task_pages import project_of, told

MAX_ITEMS = 500


class Wanted(BaseModel):
    """Which tasks are meant: those that nobody has labelled and that have no prediction of `version`.

    alone: only tasks without any prediction. among: only tasks with these numbers.
    """

    version: str = Field(min_length=1)
    alone: bool = False
    among: list[int] | None = None

    def tasks(self, project: Any) -> QuerySet[Any]:
        found = Task.objects.filter(project=project, total_annotations=0)
        if self.among is not None:
            found = found.filter(id__in=self.among)
        theirs = Prediction.objects.filter(task=OuterRef("pk"))
        if not self.alone:
            theirs = theirs.filter(model_version=self.version)
        return found.filter(~Exists(theirs))


class Page(Wanted):
    """after: the number of the last task of the page before. limit: 0 to have them counted alone."""

    after: int = 0
    limit: int = Field(ge=0, le=MAX_ITEMS)


class Row(BaseModel):
    """A prediction for a task, in Label Studio's form."""

    task: int
    result: Results
    score: Finite | None = None


class Rows(Wanted):
    """rows: those that are no `Row` are refused one by one."""

    rows: list[dict[str, Any]] = Field(max_length=MAX_ITEMS)


@api_view(["POST"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def lacking(request: Request, project_id: int) -> Response:
    """The tasks that are wanted, by their numbers, as {"id", "data"}; with no limit, how many there are."""
    try:
        asked = Page.model_validate(request.data)
    except ValidationError as error:
        return refused(error)
    project = project_of(project_id)
    tasks = asked.tasks(project).filter(id__gt=asked.after)
    if not asked.limit:
        return Response({"total": tasks.count()})
    return Response({"tasks": list(told(tasks.order_by("id")[: asked.limit], project))})


@api_view(["POST"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def store(request: Request, project_id: int) -> Response:
    """Stores predictions of a version for the tasks that are still wanted, in one transaction.

    Answers with how many were stored, and which rows were refused, and why.
    """
    try:
        asked = Rows.model_validate(request.data)
    except ValidationError as error:
        return refused(error)
    project = project_of(project_id)
    rows: dict[int, Row] = {}
    wrong = []
    for given in asked.rows:
        try:
            row = Row.model_validate(given)
        except ValidationError as error:
            wrong.append({"task": given.get("task"), "reason": first_fault(error)})
        else:
            rows[row.task] = row
    with transaction.atomic():
        one_at_a_time(project_id)
        tasks = asked.tasks(project).filter(id__in=rows).select_for_update(no_key=True)
        numbers = list(tasks.order_by("id").values_list("id", flat=True))
        Prediction.objects.bulk_create(
            Prediction(
                task_id=number,
                project=project,
                result=rows[number].result,
                score=rows[number].score,
                model_version=asked.version,
            )
            for number in numbers
        )
        count_anew(numbers)
    return Response({"created": len(numbers), "refused": wrong})
