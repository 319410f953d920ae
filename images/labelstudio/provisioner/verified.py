"""Takes in what people verified on the dashboard's page Verify, as their annotations and drafts, and gives it
back.

Each request is one transaction. Label Studio's own API makes an annotation of whoever holds the token, makes
a second one beside somebody else's, and makes one more when a request is sent again whose answer was lost.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.utils.timezone import now
from pydantic import BaseModel, Field, ValidationError
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Annotation, AnnotationDraft, Prediction, Task, bulk_update_stats_project_tasks
from users.models import User

from provisioner.access import is_member
from provisioner.counts import add_to_summary, count_anew
from provisioner.intake import Finite, Results, locked, refused
from provisioner.people import Administrators
from provisioner.task_locks import held

MAX_ITEMS = 500

Did = Literal["submitted", "drafted", "labelled", "begun", "open", "gone", "nobody", "taken back", "changed"]
"""What became of an item. labelled: somebody has submitted or skipped the task. begun: somebody has a draft
of it. open: somebody else has it open in the label stream. gone: there is no such task, or nothing to take
back. nobody: there is no such active member any more. changed: somebody has changed it since, or is at it.
"""


class Item(BaseModel):
    """An image that was verified. unique_id: the same each time that it is sent. person: the user's id.

    finished: nothing else is to be done, so that it is submitted; else it becomes the person's draft.
    prediction: whose boxes the result's are.
    """

    task: int
    unique_id: UUID
    person: int
    finished: bool
    result: Results
    prediction: int | None = None
    lead_time: Finite | None = None


class Items(BaseModel):
    items: list[Item] = Field(max_length=MAX_ITEMS)


@dataclass
class Done:
    task: int
    did: Did


@api_view(["POST"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def hand_in(request: Request, project_id: int) -> Response:
    """Makes annotations and drafts of items, for administrators; answers with one `Done` each."""
    return _answered(request, project_id, _hand_in)


@api_view(["POST"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def take_back(request: Request, project_id: int) -> Response:
    """Deletes what `hand_in` made of the same items, unless somebody has changed it since."""
    return _answered(request, project_id, _take_back)


def _answered(request: Request, project_id: int, work: Any) -> Response:
    try:
        items = Items.model_validate(request.data).items
    except ValidationError as error:
        return refused(error)
    with transaction.atomic():
        project = locked(project_id)
        tasks = Task.objects.select_for_update().filter(project=project, pk__in=[item.task for item in items])
        done = work(project, {task.pk: task for task in tasks}, items)
    return Response({"items": [vars(each) for each in done]})


def _hand_in(project: Any, tasks: dict[int, Any], items: list[Item]) -> list[Done]:
    made: list[Any] = []
    people = {
        user.pk for user in User.objects.filter(pk__in={item.person for item in items}) if is_member(user)
    }
    known = set(
        Annotation.objects.filter(unique_id__in=[item.unique_id for item in items]).values_list(
            "unique_id", flat=True
        )
    )
    done = []
    for item in items:
        if item.unique_id in known:
            done.append(Done(item.task, "submitted"))
            continue
        task = tasks.get(item.task)
        refused = _refusal(task, item, people)
        if refused is not None:
            done.append(Done(item.task, refused))
        elif item.finished:
            made.append(_annotation(project, task, item))
            done.append(Done(item.task, "submitted"))
        else:
            AnnotationDraft(
                task=task, user_id=item.person, result=item.result, lead_time=item.lead_time
            ).save()
            done.append(Done(item.task, "drafted"))
    if made:
        stored = Annotation.objects.bulk_create(made)
        _recount(project, [annotation.task_id for annotation in stored])
        add_to_summary(project.summary, stored)
    return done


def _refusal(task: Any, item: Item, people: set[int]) -> Did | None:
    """Whoever labels the image in the editor comes first."""
    if task is None:
        return "gone"
    if item.person not in people:
        return "nobody"
    if task.annotations.exists():
        return "labelled"
    if task.drafts.exists():
        own = task.drafts.filter(user_id=item.person)
        # The answer to this very draft was lost.
        return (
            "drafted" if not item.finished and own.count() == 1 and own[0].result == item.result else "begun"
        )
    if held(task).exclude(user_id=item.person).exists():
        return "open"
    return None


def _annotation(project: Any, task: Any, item: Item) -> Any:
    prediction = Prediction.objects.filter(pk=item.prediction, task=task).first() if item.prediction else None
    return Annotation(
        task=task,
        project=project,
        unique_id=item.unique_id,
        result=item.result,
        result_count=len(item.result),
        completed_by_id=item.person,
        last_created_by_id=item.person,
        lead_time=item.lead_time,
        parent_prediction=prediction,
    )


def _take_back(project: Any, tasks: dict[int, Any], items: list[Item]) -> list[Done]:
    done, gone = [], []
    for item in items:
        if item.finished:
            own = Annotation.objects.filter(unique_id=item.unique_id, task_id=item.task, project=project)
        else:
            own = AnnotationDraft.objects.filter(
                task_id=item.task, task__project=project, user_id=item.person, annotation=None
            )
        row = own.first()
        if row is None:
            done.append(Done(item.task, "gone"))
        elif row.result != item.result or item.finished and _is_touched(row):
            done.append(Done(item.task, "changed"))
        else:
            if item.finished:
                project.summary.remove_created_annotations_and_labels([row])
                gone.append(item.task)
                own.delete()
            else:
                row.delete()
            done.append(Done(item.task, "taken back"))
    if gone:
        _recount(project, gone)
    return done


def _is_touched(annotation: Any) -> bool:
    """Whether somebody has changed an annotation, or is at it: her draft would go with it."""
    return annotation.updated_by_id is not None or annotation.drafts.exists()


def _recount(project: Any, changed: list[int]) -> None:
    """Brings Label Studio's counts of these tasks up to date, and when they were changed, by which others
    find them.
    """
    queryset = Task.objects.filter(id__in=changed)
    queryset.update(updated_at=now())
    count_anew(changed)
    bulk_update_stats_project_tasks(queryset, project)
