"""Takes labels that exist elsewhere into a project: tasks, annotations and predictions in one transaction.

Label Studio's own import makes a second task of an image that has one, keeps no dates, and leaves no link in
the storage, whose next synchronisation would make one more task of the same file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from django.db import connection, transaction
from django.http import Http404
from django.utils.timezone import now
from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Annotation, Prediction, Task, bulk_update_stats_project_tasks
from users.models import User

from labelloop import layout, task_value
from provisioner.counts import add_to_summary, count_anew, last_inner_id
from provisioner.in_turn import one_at_a_time
from provisioner.people import Administrators
from provisioner.storage_links import StorageLinks

IMPORTED = "imported"
MAX_ITEMS = 500


def storable(value: Any) -> Any:
    """Refuses what the database or Label Studio's answers cannot hold. Numbers such as 1e999 are read as
    infinite, and a task that has one can never be listed again.
    """
    try:
        json.dumps(value, allow_nan=False).encode("utf-8")
    except RecursionError:
        raise ValueError("lists within lists, too deep to be stored") from None
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is no date that can be stored") from None


Finite = Annotated[float, Field(allow_inf_nan=False)]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Results = Annotated[list[dict[str, Any]], AfterValidator(storable)]
Data = Annotated[dict[str, Any], AfterValidator(storable)]


class Answer(BaseModel):
    """One annotation. unique_id: the same each time that the same labels are brought.

    completed_by: a user's e-mail address; without one, or without such a user, whoever asks.
    """

    unique_id: UUID
    result: Results = []
    completed_by: str | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    lead_time: Finite | None = None
    was_cancelled: bool = False
    ground_truth: bool = False


class Proposal(BaseModel):
    """One prediction."""

    result: Results = []
    score: Finite | None = None
    model_version: str = Field(min_length=1)


class Item(BaseModel):
    """An image with its labels. task: the task that it has; None: `path`, below volumes/, is its file.

    data: the task's data if one is made; `key` is the image's key, or path, in it.
    """

    task: int | None = None
    path: str | None = None
    key: str = "image"
    data: Data = {}
    annotations: list[Answer] = []
    predictions: list[Proposal] = []

    @field_validator("path")
    @classmethod
    def _is_below_the_images(cls, path: str | None) -> str | None:
        first, *rest = (path or f"{layout.IMAGES}/").split("/")
        odd = path is not None and any(part in ("", ".", "..") or "\0" in part for part in rest)
        if first != layout.IMAGES or not rest or odd:
            raise ValueError(f"{path!r} is no path below {layout.IMAGES}/")
        return path


class Items(BaseModel):
    """look: say what would be done, and do nothing."""

    look: bool = False
    items: list[Item] = Field(max_length=MAX_ITEMS)


@dataclass
class Done:
    """What was done with an item. known: what had been brought before. labelled_here: people have labelled
    the image here, so nothing was added.
    """

    task: int | None
    made: bool = False
    annotations: int = 0
    predictions: int = 0
    known: int = 0
    labelled_here: bool = False


def refused(error: ValidationError) -> Response:
    """The answer to a body that is not what it should be."""
    return Response({"detail": first_fault(error)}, 400)


def first_fault(error: ValidationError) -> str:
    """What is wrong with a body, and where it is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def locked(project_id: int) -> Any:
    """The project, held for the transaction. Raises Http404: there is none."""
    project = one_at_a_time(project_id)
    if project is None:
        raise Http404
    return project


@api_view(["POST"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def take_in(request: Request, project_id: int) -> Response:
    """Takes items in, for administrators; answers with one `Done` each, in their order."""
    try:
        asked = Items.model_validate(request.data)
    except ValidationError as error:
        return refused(error)
    with transaction.atomic():
        project = locked(project_id)
        intake = _Intake(project, request.user, asked)
        done = [intake.take(item) for item in asked.items]
        intake.write()
    return Response({"items": [vars(each) for each in done]})


def known_people(emails: Sequence[str]) -> dict[str, int]:
    """Users' ids by their e-mail addresses in lower case."""
    wanted = {email.strip().lower() for email in emails}
    rows = User.objects.values_list("email", "id") if wanted else ()
    return {email.lower(): user_id for email, user_id in rows if email.lower() in wanted}


def _date(annotations: Sequence[Any], answers: Sequence[Answer]) -> None:
    """Gives annotations the dates that they came with: Label Studio sets the present time when a row is made.

    One statement for all of them would name each by a condition, all of which are tried for each.
    """
    dated = []
    for annotation, answer in zip(annotations, answers, strict=True):
        if answer.created_at or answer.updated_at:
            annotation.created_at = answer.created_at or annotation.created_at
            annotation.updated_at = answer.updated_at or annotation.updated_at
            dated.append(annotation)
    if not dated:
        return
    stored = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {Annotation._meta.db_table} SET created_at = %s, updated_at = %s WHERE id = %s",
            [(stored(each.created_at), stored(each.updated_at), each.id) for each in dated],
        )


def _merged(data: Any, more: Any) -> Any:
    """The data with more in it: of two values under one key the second, of two mappings both."""
    if not isinstance(data, dict) or not isinstance(more, dict):
        return more
    return data | {key: _merged(data.get(key), value) for key, value in more.items()}


@dataclass
class _Intake:
    """Takes items of one request; what is new is written together at the end."""

    project: Any
    user: Any
    asked: Items
    tasks: dict[int, Any] = field(default_factory=dict)
    annotations: list[tuple[Any, Answer]] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    made: dict[int, Any] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        items = self.asked.items
        answers = [answer for item in items for answer in item.annotations]
        found = Annotation.objects.filter(unique_id__in=[answer.unique_id for answer in answers])
        self._known = set(found.values_list("unique_id", flat=True))
        self._people = known_people([answer.completed_by for answer in answers if answer.completed_by])
        self._links = StorageLinks(self.project)
        numbers = [item.task for item in items if item.task is not None]
        self._present = {task.id: task for task in Task.objects.filter(project=self.project, id__in=numbers)}
        self._of_files = self._links.tasks_of(item.path for item in items if item.path is not None)
        there = [task.id for item in items if (task := self._task(item)) is not None]
        theirs = Prediction.objects.filter(task__in=there)
        self._predicted = set(theirs.values_list("task", "model_version"))
        labels = Annotation.objects.filter(task__in=there).values_list("task", "last_action", "updated_by")
        self._labelled_here = {task for task, action, by in labels if action != IMPORTED or by is not None}
        if not self.asked.look:
            self._make_all()

    def take(self, item: Item) -> Done:
        task = self._task(item)
        if task is None:
            if self.asked.look:
                return Done(None, True, len(item.annotations), len(item.predictions))
            return Done(None)  # its task was deleted meanwhile
        done = Done(task.id, task.id in self.made and task.id not in self._taken)
        self._taken.add(task.id)
        answers = {answer.unique_id: answer for answer in item.annotations}  # two may say the same
        fresh = [answer for answer in answers.values() if answer.unique_id not in self._known]
        proposals = [row for row in item.predictions if (task.id, row.model_version) not in self._predicted]
        done.known = len(item.annotations) - len(fresh) + len(item.predictions) - len(proposals)
        if fresh and task.id in self._labelled_here:
            done.labelled_here, fresh = True, []
        done.annotations, done.predictions = len(fresh), len(proposals)
        if (fresh or proposals) and not self.asked.look:
            self.tasks[task.id] = task
            self.annotations += [(self._annotation(task, answer), answer) for answer in fresh]
            self._known |= {answer.unique_id for answer in fresh}
            self.predictions += [self._prediction(task, proposal) for proposal in proposals]
        return done

    def write(self) -> None:
        """Stores what `take` has gathered, and brings Label Studio's counts up to date."""
        if self.asked.look:
            return
        stored = Annotation.objects.bulk_create([annotation for annotation, _ in self.annotations])
        _date(stored, [answer for _, answer in self.annotations])
        Prediction.objects.bulk_create(self.predictions)
        changed = [*self.tasks, *self.made]
        if not changed:
            return
        queryset = Task.objects.filter(id__in=changed)
        queryset.update(updated_at=now())  # by which others find what is new
        count_anew(changed)
        self.project._update_tasks_states(False, False, bool(self.made))
        bulk_update_stats_project_tasks(queryset, self.project)
        summary = self.project.summary
        if self.made:
            summary.update_data_columns(self.made.values())
        add_to_summary(summary, stored)

    def _task(self, item: Item) -> Any:
        task = None if item.task is None else self._present.get(item.task)
        return self._of_files.get(item.path) if task is None and item.path is not None else task

    def _make_all(self) -> None:
        """Makes the tasks of files that have none."""
        new = {item.path: item for item in self.asked.items if item.path and self._task(item) is None}
        last = last_inner_id(self.project)
        tasks = Task.objects.bulk_create(
            Task(
                project_id=self.project.id,
                data=_merged(item.data, task_value.put(item.key, f"/data/local-files/?d={quote(path)}")),
                overlap=self.project.maximum_annotations,
                inner_id=last + number,
            )
            for number, (path, item) in enumerate(new.items(), start=1)
        )
        self._of_files |= dict(zip(new, tasks, strict=True))
        self._links.link(dict(zip(new, tasks, strict=True)))
        self.made = {task.id: task for task in tasks}

    def _annotation(self, task: Any, answer: Answer) -> Any:
        person = self._people.get((answer.completed_by or "").strip().lower(), self.user.id)
        return Annotation(
            task_id=task.id,
            project_id=self.project.id,
            unique_id=answer.unique_id,
            result=answer.result,
            result_count=len(answer.result),
            completed_by_id=person,
            last_created_by_id=person,
            lead_time=answer.lead_time,
            was_cancelled=answer.was_cancelled,
            ground_truth=answer.ground_truth,
            last_action=IMPORTED,
        )

    def _prediction(self, task: Any, proposal: Proposal) -> Any:
        return Prediction(
            task_id=task.id,
            project_id=self.project.id,
            result=proposal.result,
            score=proposal.score,
            model_version=proposal.model_version,
        )
