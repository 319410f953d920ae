"""A project's tasks page by page, and how many there are, for the trainer.

Label Studio's own list reads the predictions and annotations of each task that it lists, asked for or not,
and adds up those of all tasks for each page. It takes four thousandths of a second or more for each task.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from core import label_config
from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import Http404
from io_storages.localfiles.models import LocalFilesImportStorage
from projects.models import Project
from pydantic import BaseModel, Field, ValidationError
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Annotation, Task

from provisioner.intake import refused
from provisioner.people import Administrators

MAX_TASKS = 1000
LABELLED = Q(total_annotations__gt=0)
ANNOTATION = (
    "id",
    "result",
    "completed_by",
    "created_at",
    "updated_at",
    "draft_created_at",
    "lead_time",
    "was_cancelled",
    "ground_truth",
    "parent_prediction",
    "parent_annotation",
    "task",
    "project",
    "updated_by",
    "import_id",
    "last_action",
    "last_created_by",
    "bulk_created",
)
"""The fields of an annotation: those of Label Studio's API that its table has."""


class Page(BaseModel):
    """after: the number of the last task of the page before. labelled: only tasks with a submitted
    annotation, each with its annotations.
    """

    after: int = 0
    limit: int = Field(ge=1, le=MAX_TASKS)
    labelled: bool = False


@api_view(["GET"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def listed(request: Request, project_id: int) -> Response:
    """Tasks by their numbers, as {"id", "data"}, with "annotations" where labelled ones are asked for."""
    try:
        asked = Page.model_validate(request.query_params.dict())
    except ValidationError as error:
        return refused(error)
    project = project_of(project_id)
    tasks = Task.objects.filter(project=project, id__gt=asked.after)
    if asked.labelled:
        tasks = tasks.filter(LABELLED)
    page = list(told(tasks.order_by("id")[: asked.limit], project))
    if asked.labelled:
        _annotate(page)
    return Response({"tasks": page})


@api_view(["GET"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def counted(request: Request, project_id: int) -> Response:
    """How many tasks there are, and how many of them have a submitted annotation."""
    tasks = Task.objects.filter(project=project_of(project_id))
    # By two statements, each of which an index answers.
    return Response({"tasks": tasks.count(), "labelled": tasks.filter(LABELLED).count()})


def project_of(project_id: int) -> Any:
    """Raises Http404: there is no such project."""
    project = Project.objects.filter(pk=project_id).first()
    if project is None:
        raise Http404
    return project


def told(tasks: QuerySet[Any], project: Any) -> Iterator[dict[str, Any]]:
    """Tasks with their data as Label Studio's API has them."""
    storages = project.get_all_import_storage_objects
    resolved = project.task_data_login or any(not isinstance(s, LocalFilesImportStorage) for s in storages)
    if resolved:
        tasks = tasks.prefetch_related(*settings.IO_STORAGES_IMPORT_LINK_NAMES)
    else:
        tasks = tasks.only("id", "data")  # the URLs of local files are what they are
    for task in tasks:
        data = task.resolve_uri(task.data, project) if resolved else task.data
        label_config.replace_task_data_undefined_with_config_field(data, project)
        yield {"id": task.id, "data": data}


def _annotate(page: Sequence[dict[str, Any]]) -> None:
    """Gives tasks their annotations, by the numbers of these."""
    tasks = {task["id"]: task for task in page}
    for task in page:
        task["annotations"] = []
    for row in Annotation.objects.filter(task__in=tasks).order_by("id").values(*ANNOTATION):
        tasks[row["task"]]["annotations"].append(row)
