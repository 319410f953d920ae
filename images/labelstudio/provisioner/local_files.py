"""Files below volumes/ that Label Studio may read for people: the images, and nothing else.

Its document root is volumes/, since the tasks' URLs count from there: /data/local-files/?d=images/a.jpg.
"""

import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from io_storages.localfiles.models import (
    LocalFilesExportStorage,
    LocalFilesImportStorageBase,
    LocalFilesMixin,
)
from io_storages.localfiles.views import localfiles_data
from rest_framework.request import Request

from labelloop.settings import Settings, get_settings
from labelloop.system_files import is_in_system_folder
from provisioner import image_tasks

log = logging.getLogger(__name__)


class ImageFile(localfiles_data.cls):  # type: ignore[misc]
    """Label Studio's view for files below volumes/images; 404 for all others, whatever a storage says."""

    def get(self, request: Request) -> HttpResponse:
        settings = get_settings()
        requested = posixpath.normpath(request.GET.get("d", "")).lstrip("/")
        if not is_image_path(settings.volumes_dir / requested, settings):
            raise Http404
        answer: HttpResponse = super().get(request)
        return answer


def is_image_path(path: Path, settings: Settings) -> bool:
    """Whether a path is volumes/images or lies below it, behind all its `..` and symbolic links."""
    try:
        return path.resolve().is_relative_to(settings.images_dir.resolve())
    except (OSError, RuntimeError, ValueError):  # a link to itself, a null byte, a name that is too long
        return False


def confine() -> None:
    """Has Label Studio's local storages take no folder but the images', and read nothing outside it."""
    label_studios_check = LocalFilesMixin.validate_connection
    label_studios_scan = LocalFilesImportStorageBase.iter_objects

    def validate_connection(storage: Any) -> None:
        label_studios_check(storage)
        folders = _folders(storage, get_settings())
        path = Path(storage.path).resolve()
        if not any(path.is_relative_to(folder.resolve()) for folder in folders):
            allowed = " or ".join(map(str, folders))
            raise ValidationError(f"{storage.path}: the path has to be {allowed}, or a folder below it")

    def scan(storage: Any, settings: Settings) -> Iterator[Path]:
        # Below a folder that is inside, only a link leads out.
        inside, left_out = is_image_path(Path(storage.path or ""), settings), 0
        for file in label_studios_scan(storage):
            if not inside or (file.is_symlink() and not is_image_path(file, settings)):
                left_out += 1
            elif not is_in_system_folder(file.relative_to(storage.path)):
                yield file
        if left_out:
            log.warning("%s: %d files lead outside %s", storage.path, left_out, settings.images_dir)

    def iter_objects(storage: Any) -> Iterator[Path]:
        settings = get_settings()
        found = scan(storage, settings)
        # Where files are not to be shown, they hold tasks.
        if not storage.use_blob_urls:
            return found
        files = image_tasks.wanted(storage, found, settings)
        return (file for file in files if is_image_path(file, settings))

    LocalFilesMixin.validate_connection = validate_connection
    LocalFilesImportStorageBase.iter_objects = iter_objects


def _folders(storage: Any, settings: Settings) -> tuple[Path, ...]:
    """Where a storage may be: below the images; for exports, in Label Studio's own folder too."""
    exports = settings.labelstudio_dir / "export"
    return (
        (settings.images_dir, exports)
        if isinstance(storage, LocalFilesExportStorage)
        else (settings.images_dir,)
    )
