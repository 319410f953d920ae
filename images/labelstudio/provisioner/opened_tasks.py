"""A task is opened, and an annotation submitted and corrected, by far fewer statements than Label Studio's.

Label Studio reads the task four times and its project as often; and saves with each correction the whole task
as it was read before, over what others have changed meanwhile.
"""

from functools import partial
from typing import Any

from data_manager.managers import PreparedTaskManager, TaskQuerySet
from django.db import DatabaseError
from django.db.models import prefetch_related_objects
from django.http import Http404
from django.utils.timezone import now
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.api import AnnotationAPI, AnnotationsListAPI, TaskAPI
from tasks.models import Annotation, Task

from provisioner import storage_kinds
from provisioner.counts import count_anew

_WITH_PROJECT = Task.objects.select_related("project__organization")


class OpenTask(TaskAPI):  # type: ignore[misc]
    """Label Studio's view of one task."""

    def get_object(self) -> Any:
        """The task with all that is shown of it; raises Http404, PermissionDenied."""
        asked = self.request.query_params
        if self.request.method != "GET" or "review" in asked:
            return super().get_object()
        theirs = _WITH_PROJECT.filter(project__organization=self.request.user.active_organization)
        task = generics.get_object_or_404(storage_kinds.with_links(theirs), pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, task)
        if asked.get("project", str(task.project_id)) != str(task.project_id):
            return super().get_object()
        opened = generics.get_object_or_404(self._with_columns(task))
        opened.project = task.project
        links = tuple(storage_kinds.links(task))
        storage_kinds.note_absent(opened, links)
        prefetch_related_objects([opened], "annotations__completed_by", "predictions", *links)
        return opened

    def _with_columns(self, task: Any) -> Any:
        """The query of this task with the data manager's columns."""
        found = TaskQuerySet(Task).filter(pk=task.pk)
        found.first = lambda: task  # by which Label Studio learns whose columns they are
        found.view_data = None
        return PreparedTaskManager.annotate_queryset(
            found,
            all_fields=True,
            excluded_fields_for_evaluation=self.get_excluded_fields_for_evaluation(),
            request=self.request,
        )


class SubmitAnnotation(AnnotationsListAPI):  # type: ignore[misc]
    """Label Studio's view of a task's annotations."""

    parent_queryset = _WITH_PROJECT

    def perform_create(self, ser: Any) -> Any:
        """Stores the annotation of the project that was read. Its task is read anew once it is stored: others
        may have labelled it meanwhile.
        """
        project, save = self.parent_object.project, ser.save
        ser.save = lambda project_id, **more: save(project=project, **more)
        return super().perform_create(ser)


class CorrectAnnotation(AnnotationAPI):  # type: ignore[misc]
    """Label Studio's view of one annotation."""

    queryset = Annotation.objects.select_related("project__organization", "task")
    _found: Any = None

    def get_object(self) -> Any:
        """The annotation, looked up once; raises Http404, PermissionDenied."""
        if self._found is None:
            self._found = super().get_object()
            task = self._found.task
            if task is not None and task.project_id == self._found.project_id:
                task.project = self._found.project
        return self._found

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Stores a correction. What its task says of its annotations follows, of another task that the
        annotation had before, too.
        """
        annotation = self.get_object()
        before = annotation.task_id
        if request.data.get("ground_truth"):
            annotation.task.ensure_unique_groundtruth(annotation_id=annotation.id)
        # Past Label Studio's own, which saves the whole task.
        answer = super(AnnotationAPI, self).update(request, *args, **kwargs)
        if annotation.task_id != before:
            Task.objects.filter(pk=before).update(updated_at=now())
        count_anew({before, annotation.task_id})
        return answer

    def perform_update(self, serializer: Any) -> None:
        """Raises Http404: it was deleted meanwhile. Django would store it again."""
        annotation = serializer.instance
        annotation.save = partial(annotation.save, force_update=True)
        try:
            super().perform_update(serializer)
        except DatabaseError:
            if Annotation.objects.filter(pk=annotation.pk).exists():
                raise
            raise Http404 from None
