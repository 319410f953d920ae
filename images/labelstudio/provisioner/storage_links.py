"""Which task belongs to which file below volumes/images: the links of a project's local-files storages."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
        try:
            named = parse_qs(urlsplit(data).query).get("d", [""])[0]
        except ValueError:
            return
        path = os.path.normpath(named.lstrip("/"))
        if path.startswith(f"{layout.IMAGES}/"):
            yield path


class StorageLinks:
    """The links of one project. A file that has one gets no other task when its storage is synchronised."""

    def __init__(self, project: Any) -> None:
        self._volumes = get_settings().volumes_dir
        self._storages = list(LocalFilesImportStorage.objects.filter(project=project).order_by("id"))

    def task_of(self, path: str) -> Any:
        """The task of a file, by its path below volumes/; None when it has none."""
        for storage, key in self._places(path):
            link = LocalFilesImportStorageLink.objects.filter(storage=storage, key=key).first()
            if link is not None:
                return link.task
        return None

    def link(self, task: Any, path: str) -> bool:
        """Says that a task without a link is the file's. Returns: whether a storage holds the file."""
        for storage, key in self._places(path):
            LocalFilesImportStorageLink.create(task, key, storage)
            return True  # Label Studio allows a task one link
        return False

    def take_over(self, task: Any, former: Any) -> None:
        """Makes the link of `former` lead to a task without one."""
        LocalFilesImportStorageLink.objects.filter(task=former).update(task=task)

    def hold(self, path: str) -> bool:
        """Whether a storage holds the file."""
        return bool(self._places(path))

    def _places(self, path: str) -> list[tuple[Any, str]]:
        """The storages that hold a file, and what they call it."""
        file = self._volumes / path
        return [
            (storage, str(file))
            for storage in self._storages
            if storage.path and file.is_relative_to(Path(storage.path))
        ]
