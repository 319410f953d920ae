"""One image, one task: what people import for a file of volumes/images and what a storage makes of the file
are brought together.

Otherwise an image whose labels somebody imports by Label Studio's own page has two tasks, and an empty
submission on the other one would count as the newest word on the image.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import transaction
from django.db.models import Exists, OuterRef
from io_storages.localfiles.models import LocalFilesImportStorageBase, LocalFilesImportStorageLink
from tasks.models import Task
from tasks.serializers import BaseTaskSerializerBulk

from labelloop.files import sha256_file
from labelloop.settings import get_settings
from provisioner.storage_links import StorageLinks, local_files
from provisioner.synchronisation import synchronise
from provisioner.task_locks import held

log = logging.getLogger(__name__)

_CHUNK = 2000


def join() -> None:
    """Has Label Studio look for the task that a file has already, whenever it makes tasks."""
    label_studios_scan = LocalFilesImportStorageBase.scan_and_create_links
    label_studios_create = BaseTaskSerializerBulk.create

    def scan_and_create_links(storage: Any) -> None:
        settle(storage.project, _unlinked(storage.project))
        if storage.use_blob_urls:
            synchronise(storage, _Copies(storage.project).task_with_the_bytes_of)
        else:  # its files hold tasks
            label_studios_scan(storage)

    def create(serializer: Any, validated_data: Any) -> Any:
        made = label_studios_create(serializer, validated_data)
        settle(serializer.project, ((task.id, task.data) for task in made))
        return made

    LocalFilesImportStorageBase.scan_and_create_links = scan_and_create_links
    BaseTaskSerializerBulk.create = create


def settle(project: Any, rows: Iterable[tuple[int, Any]]) -> None:
    """Gives tasks without a link the link of the file that their data names.

    rows: their ids and data. The task that the file had is deleted if nobody has worked on it (no annotation,
    no draft, nobody has it open), its data say nothing that the new ones do not, and it is none of `rows`.
    Its predictions go to the new task. Otherwise both stay: people ask several things about one image.
    """
    links = StorageLinks(project)
    # All are read before the first is changed.
    found = [(task_id, path) for task_id, data in rows if (path := _image_path(data)) is not None]
    named = [(task_id, path) for task_id, path in found if links.hold(path)]
    new = {task_id for task_id, _ in named}
    for task_id, path in named:
        with transaction.atomic():
            former = links.task_of(path)
            if former is not None and (former.id in new or not _locked(former)):
                continue
            task = Task.objects.filter(id=task_id).first()
            if task is None:
                continue
            if former is None:
                links.link({path: task})
            elif _is_untouched(former) and _says_no_more(former.data, task.data, path):
                links.take_over(task, former)
                _give_predictions(former, task)
                log.info("project %d: task %d takes the place of task %d", project.id, task.id, former.id)
                former.delete()


def _unlinked(project: Any) -> Iterator[tuple[int, Any]]:
    """Ids and data of the project's tasks without a link, by id."""
    # With `exclude(id__in=…)` PostgreSQL would, for each of a million tasks, read all that are linked.
    linked = Exists(LocalFilesImportStorageLink.objects.filter(task=OuterRef("pk")))
    tasks = Task.objects.filter(~linked, project=project).order_by("id")
    rows: Iterator[tuple[int, Any]] = tasks.values_list("id", "data").iterator(chunk_size=_CHUNK)
    return rows


def _locked(task: Any) -> bool:
    """Whether the task is still there. If so, nobody can submit for it before the transaction's end."""
    return bool(Task.objects.select_for_update().filter(id=task.id))


def _is_untouched(task: Any) -> bool:
    return not (task.annotations.exists() or task.drafts.exists() or held(task).exists())


def _says_no_more(former: object, data: object, path: str) -> bool:
    """Whether all that a former task's data say is in other data, or names the file."""
    if not isinstance(former, dict) or not isinstance(data, dict):
        return False
    return all(
        data.get(key) == value or (isinstance(value, str) and list(local_files(value)) == [path])
        for key, value in former.items()
    )


def _give_predictions(former: Any, task: Any) -> None:
    """Gives a task the predictions of the one whose place it takes, except those of versions that it has."""
    versions = [version for version in task.predictions.values_list("model_version", flat=True) if version]
    if former.predictions.exclude(model_version__in=versions).update(task=task):
        task.total_predictions = task.predictions.count()
        task.save(update_fields=["total_predictions"], skip_fsm=True)


def _image_path(data: object) -> str | None:
    """The path below volumes/ of the only file of volumes/images that a task's data name."""
    found = set(local_files(data))
    return found.pop() if len(found) == 1 else None


class _Copies:
    """The uploaded images of tasks without a link, to be found by their bytes."""

    def __init__(self, project: Any) -> None:
        self._project = project

    @cached_property
    def _by_size(self) -> dict[int, list[tuple[int, Path]]]:
        """Read when the first new file is found."""
        found: dict[int, list[tuple[int, Path]]] = {}
        for task_id, data in _unlinked(self._project):
            for path in _uploads(data):
                with suppress(OSError):
                    found.setdefault(path.stat().st_size, []).append((task_id, path))
        return found

    def task_with_the_bytes_of(self, file: Path) -> Any:
        """A task without a link whose image has the same bytes; None when there is none."""
        try:
            alike = self._by_size.get(file.stat().st_size, [])
            digest = sha256_file(file) if alike else ""
            for position, (task_id, path) in enumerate(alike):
                if sha256_file(path) == digest:
                    del alike[position]
                    return Task.objects.filter(id=task_id).first()
        except OSError as error:
            log.warning("%s: not compared with uploaded images: %s", file, error)
        return None


def _uploads(data: object) -> Iterator[Path]:
    """The files among Label Studio's uploads that a task's data names."""
    folder = get_settings().uploads_dir
    for value in data.values() if isinstance(data, dict) else ():
        if isinstance(value, str) and "data/upload/" in value:
            name = unquote(urlsplit(value).path.partition("data/upload/")[2])
            path = Path(os.path.normpath(folder / name))
            if name and path.is_relative_to(folder):
                yield path
