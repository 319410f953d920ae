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

from django.db import transaction
from django.http import Http404
from django.utils.timezone import now
from projects.models import Project
from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Annotation, Prediction, Task, bulk_update_stats_project_tasks
from users.models import User

from labelloop import layout, task_value
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
    """The project, for the transaction alone. Raises Http404: there is none."""
    project = Project.objects.select_for_update().filter(pk=project_id).first()
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
    made: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        items = self.asked.items
        self._links = StorageLinks(self.project)
        self._inner_id: int | None = None
        answers = [answer for item in items for answer in item.annotations]
        found = Annotation.objects.filter(unique_id__in=[answer.unique_id for answer in answers])
        self._known = set(found.values_list("unique_id", flat=True))
        self._people = known_people([answer.completed_by for answer in answers if answer.completed_by])
        numbers = [item.task for item in items if item.task is not None]
        self._present = {task.id: task for task in Task.objects.filter(project=self.project, id__in=numbers)}

    def take(self, item: Item) -> Done:
        task = self._task(item)
        if task is None and self.asked.look:
            return Done(None, True, len(item.annotations), len(item.predictions))
        made = task is None
        if task is None:
            if item.path is None:
                return Done(None)  # its task was deleted meanwhile
            task = self._make(item)
        done = Done(task.id, made)
        answers = {answer.unique_id: answer for answer in item.annotations}  # two may say the same
        fresh = [answer for answer in answers.values() if answer.unique_id not in self._known]
        versions = {proposal.model_version for proposal in item.predictions}
        before = set(
            Prediction.objects.filter(task=task, model_version__in=versions).values_list(
                "model_version", flat=True
            )
            if versions and not made
            else ()
        )
        proposals = [row for row in item.predictions if row.model_version not in before]
        done.known = len(item.annotations) - len(fresh) + len(item.predictions) - len(proposals)
        if fresh and not made and self._is_labelled_here(task):
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
        for annotation, (_, answer) in zip(stored, self.annotations, strict=True):
            annotation.created_at = answer.created_at or annotation.created_at
            annotation.updated_at = answer.updated_at or annotation.updated_at
        if stored:  # Label Studio sets the present time when a row is made
            Annotation.objects.bulk_update(stored, ["created_at", "updated_at"])
        Prediction.objects.bulk_create(self.predictions)
        changed = [*self.tasks, *(task.id for task in self.made)]
        if not changed:
            return
        queryset = Task.objects.filter(id__in=changed)
        queryset.update(updated_at=now())  # by which others find what is new
        self.project._update_tasks_counters_and_task_states(queryset, False, False, bool(self.made))
        bulk_update_stats_project_tasks(queryset, self.project)
        summary = self.project.summary
        if self.made:
            summary.update_data_columns(self.made)
        summary.update_created_annotations_and_labels(stored)

    def _task(self, item: Item) -> Any:
        if item.task is not None:
            return self._present.get(item.task)
        return self._links.task_of(item.path) if item.path is not None else None

    def _make(self, item: Item) -> Any:
        assert item.path is not None
        if self._inner_id is None:
            last = Task.objects.filter(project=self.project).order_by("-inner_id").first()
            self._inner_id = (last.inner_id or 0) if last else 0
        self._inner_id += 1
        url = f"/data/local-files/?d={quote(item.path)}"
        task = Task(
            project=self.project,
            data=_merged(item.data, task_value.put(item.key, url)),
            overlap=self.project.maximum_annotations,
            inner_id=self._inner_id,
        )
        task.save(skip_fsm=True)
        self._links.link(task, item.path)
        self.made.append(task)
        return task

    def _is_labelled_here(self, task: Any) -> bool:
        """Whether somebody has submitted, skipped or edited an annotation in this Label Studio."""
        rows = task.annotations.values_list("last_action", "updated_by")
        return any(action != IMPORTED or editor is not None for action, editor in rows)

    def _annotation(self, task: Any, answer: Answer) -> Any:
        person = self._people.get((answer.completed_by or "").strip().lower(), self.user.id)
        return Annotation(
            task=task,
            project=self.project,
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
            task=task,
            project=self.project,
            result=proposal.result,
            score=proposal.score,
            model_version=proposal.model_version,
        )
