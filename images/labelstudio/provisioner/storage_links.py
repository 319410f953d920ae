"""Which task belongs to which file below volumes/images: the links of a project's local-files storages."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from io_storages.localfiles.models import LocalFilesImportStorage, LocalFilesImportStorageLink

from labelloop import layout
from labelloop.settings import get_settings

_SERVED = "data/local-files"


def local_files(data: object) -> Iterator[str]:
    """The paths below volumes/ of the files of volumes/images that a task's data name, at any depth."""
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, list):
        for value in data:
            yield from local_files(value)
    elif isinstance(data, str) and _SERVED in data:
        path = os.path.normpath(_named(data).lstrip("/"))
        if path.startswith(f"{layout.IMAGES}/"):
            yield path


def _named(url: str) -> str:
    """The file that a URL names as `d`; empty when it is no URL or names none."""
    whole = url.partition(f"{_SERVED}/?d=")[2]
    if whole and "&" not in whole and "#" not in whole:
        return unquote_plus(whole)  # a tenth of the time, for the hundred thousand of a project
    try:
        return parse_qs(urlsplit(url).query).get("d", [""])[0]
    except ValueError:
        return ""


class StorageLinks:
    """The links of one project. A file that has one gets no other task when its storage is synchronised."""

    def __init__(self, project: Any) -> None:
        self._volumes = get_settings().volumes_dir
        storages = LocalFilesImportStorage.objects.filter(project=project).order_by("id")
        self._folders = [(storage, f"{Path(storage.path)}/") for storage in storages if storage.path]

    def task_of(self, path: str) -> Any:
        """The task of a file, by its path below volumes/; None when it has none."""
        return self.tasks_of([path]).get(path)

    def tasks_of(self, paths: Iterable[str]) -> dict[str, Any]:
        """The tasks of files, by their paths below volumes/; nothing of those that have none."""
        found: dict[str, Any] = {}
        for storage, keys in self._by_storage(paths).items():
            links = LocalFilesImportStorageLink.objects.filter(storage=storage, key__in=keys)
            for link in links.select_related("task").order_by("id"):
                found.setdefault(keys[link.key], link.task)
        return found

    def link(self, tasks: Mapping[str, Any]) -> None:
        """Says whose files these tasks without a link are, where a storage holds the file.

        tasks: by paths below volumes/.
        """
        LocalFilesImportStorageLink.objects.bulk_create(
            LocalFilesImportStorageLink(task_id=task.id, key=key, storage_id=storage.id)
            for path, task in tasks.items()
            for storage, key in self._places(path)[:1]  # Label Studio allows a task one link
        )

    def take_over(self, task: Any, former: Any) -> None:
        """Makes the link of `former` lead to a task without one."""
        LocalFilesImportStorageLink.objects.filter(task=former).update(task=task)

    def hold(self, path: str) -> bool:
        """Whether a storage holds the file."""
        return bool(self._places(path))

    def _by_storage(self, paths: Iterable[str]) -> dict[Any, dict[str, str]]:
        """What each storage calls the files that it holds, with their paths."""
        found: dict[Any, dict[str, str]] = {}
        for path in paths:
            for storage, key in self._places(path):
                found.setdefault(storage, {})[key] = path
        return found

    def _places(self, path: str) -> list[tuple[Any, str]]:
        """The storages that hold a file, and what they call it."""
        file = f"{self._volumes}/{path}"
        return [(storage, file) for storage, folder in self._folders if file.startswith(folder)]
