"""Which files become tasks when an image storage is synchronised: each image once in a project.

Label Studio knows a file by the task that it made of it, so it would make another one for every deleted task.
Here the files of which tasks were made are kept in a table of its database, where they are backed up and
restored with the tasks. The trainer names the files, which it has found to be whole. Where a person presses
Sync Storage, no file is named, and all that the storage finds are looked at here.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models.signals import post_save
from io_storages.localfiles.api import LocalFilesImportStorageSyncAPI
from io_storages.localfiles.models import LocalFilesImportStorage, LocalFilesImportStorageLink
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from tasks.models import Task

from labelloop.batches import batches
from labelloop.images import ImageError, examine
from labelloop.settings import Settings, get_settings
from provisioner.in_turn import written_in_turn
from provisioner.storage_links import local_files

log = logging.getLogger(__name__)

_AT_ONCE = 500
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS labelloop_imported (
    project_id INTEGER NOT NULL, path TEXT NOT NULL, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL,
    PRIMARY KEY (project_id, path)
)
""",
    # Up to which task those of a project have been read for their images.
    "CREATE TABLE IF NOT EXISTS labelloop_read (project_id INTEGER PRIMARY KEY, task_id BIGINT NOT NULL)",
)
_KNOWN = "SELECT path, size, mtime_ns FROM labelloop_imported WHERE project_id = %s"
_KNOWN_FILES = f"{_KNOWN} AND path NOT LIKE 's3://%%'"
_LEARN = """
INSERT INTO labelloop_imported (project_id, path, size, mtime_ns) VALUES (%s, %s, %s, %s)
ON CONFLICT (project_id, path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns
"""
_FORGET = tuple(
    f"DELETE FROM {table} WHERE project_id NOT IN (SELECT id FROM project)"
    for table in ("labelloop_imported", "labelloop_read")
)
_READ = "SELECT task_id FROM labelloop_read WHERE project_id = %s"
_HAVE_READ = """
INSERT INTO labelloop_read (project_id, task_id) VALUES (%s, %s)
ON CONFLICT (project_id) DO UPDATE SET task_id = excluded.task_id
"""

Stamp = tuple[int, int]
"""A file's size in bytes, and the time of its last change in nanoseconds."""
SECOND_NS, ROUNDING_NS = 10**9, 1000
_ABSENT: Stamp = (-1, 0)
"""Of an image that a task names, and that is not there yet."""
LONGEST_NAME, LONGEST_PATH = 255, 2000
"""Of a file in bytes, as file systems have it; of a path in characters, as PostgreSQL takes into an index."""


@dataclass
class Asked:
    """What is asked of a synchronisation, and what came of it.

    files: below volumes/images; None for all that the storage finds. again: make tasks of files whose tasks
    were deleted, too. whole: count how many such stay out, for which all of the project's tasks are read;
    deleted: how many. images: the project's. offered: the files that Label Studio was to make tasks of, by
    its keys, with their paths below volumes/.
    """

    files: tuple[str, ...] | None = None
    again: bool = False
    whole: bool = True
    deleted: int = 0
    images: "ProjectImages | None" = None
    offered: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, body: object) -> "Asked":
        """Raises ValidationError: `files` is no list of paths."""
        given = body if isinstance(body, Mapping) else {}
        files = given.get("files")
        if files is not None and not (isinstance(files, list) and all(isinstance(f, str) for f in files)):
            raise ValidationError({"files": "has to be a list of paths below volumes/images"})
        named = None if files is None else tuple(files)
        return cls(named, given.get("again") is True, given.get("whole") is not False)

    def learn(self, storage_id: int) -> None:
        """Notes the offered files of which tasks were made. Label Studio takes the files of a storage in
        batches, so that this is not known before it has them all.
        """
        if self.images is None:
            return
        keys = list(self.offered)
        for first in range(0, len(keys), _AT_ONCE):
            batch = keys[first : first + _AT_ONCE]
            links = LocalFilesImportStorageLink.objects.filter(storage=storage_id, key__in=batch)
            self.images.learn(self.offered[key] for key in links.values_list("key", flat=True))


_asked: ContextVar[Asked | None] = ContextVar("what this thread's synchronisation is asked for", default=None)


class SyncImages(LocalFilesImportStorageSyncAPI):  # type: ignore[misc]
    """Label Studio's view that synchronises a storage, with our body: see `Asked`."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = Asked.of(request.data)
        before = _asked.set(asked)
        try:
            answer = super().post(request, *args, **kwargs)
        finally:
            _asked.reset(before)
            asked.learn(kwargs["pk"])
        if isinstance(answer.data, dict):
            answer.data = {**answer.data, "labelloop": {"deleted": asked.deleted}}
        return answer


@dataclass
class ProjectImages:
    """The images of one project. tasks: those that tasks have, known: those that had one, by path below
    volumes/. whole: whether they are all; otherwise `known` has what was asked for alone, `tasks` nothing.
    """

    project_id: int
    settings: Settings
    tasks: set[str] = field(default_factory=set)
    known: dict[str, Stamp] = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def read(cls, project_id: int, settings: Settings) -> "ProjectImages":
        """Reads them from the database, and notes the images of tasks that were not known."""
        images = cls(project_id, settings)
        with connection.cursor() as cursor:
            make_table(cursor)
            for statement in _FORGET:
                cursor.execute(statement)
            cursor.execute(_KNOWN_FILES, [project_id])
            images.known = {path: (size, mtime_ns) for path, size, mtime_ns in cursor.fetchall()}
        images.tasks, last = images._read(0)
        images.learn(path for path in images.tasks if images.known.get(path, _ABSENT) == _ABSENT)
        images._have_read(last)
        return images

    @classmethod
    def of(cls, project_id: int, settings: Settings, stamps: Mapping[str, Stamp]) -> "ProjectImages | None":
        """What is known of these images, by a look at new tasks alone: others' images are known already.

        None where all tasks have to be read: it is the first time, or an image has changed since it had a
        task, which may have been deleted.
        """
        images = cls(project_id, settings, whole=False)
        with connection.cursor() as cursor:
            make_table(cursor)
            cursor.execute(_READ, [project_id])
            row = cursor.fetchone()
        if row is None:
            return None
        new, last = images._read(row[0])
        images.learn(new - known_stamps(project_id, new).keys())
        images._have_read(last)
        images.known = known_stamps(project_id, stamps)
        changed = any(not _is_same(known, stamps[path]) for path, known in images.known.items())
        return None if changed else images

    def learn(self, paths: Iterable[str]) -> None:
        """Notes that tasks were made of these images, by name: of two that write the same rows in two orders,
        PostgreSQL ends one.
        """
        rows = []
        for path in sorted(paths):
            self.known[path] = stamp = _stamp(self.settings.volumes_dir / path) or _ABSENT
            rows.append((self.project_id, path, *stamp))
        for first in range(0, len(rows), _AT_ONCE):
            with written_in_turn(), connection.cursor() as cursor:
                cursor.executemany(_LEARN, rows[first : first + _AT_ONCE])

    def _read(self, after: int) -> tuple[set[str], int]:
        """The images of the tasks whose numbers are above `after`, and the highest of these numbers."""
        last, found = after, set[str]()
        tasks = Task.objects.filter(project=self.project_id, id__gt=after)
        for number, data in tasks.values_list("id", "data").iterator(2000):
            last = max(last, number)
            found.update(_names(data))
        return found, last

    def _have_read(self, last: int) -> None:
        """Notes that the images of tasks up to this number are known."""
        with written_in_turn(), connection.cursor() as cursor:
            cursor.execute(_HAVE_READ, [self.project_id, last])


def make_table(cursor: Any) -> None:
    """Makes both tables unless they are there."""
    for table in _TABLES:
        cursor.execute(table)


def known_stamps(project_id: int, paths: Iterable[str]) -> dict[str, Stamp]:
    """Of these images, the stamps of those of which the project had a task."""
    known: dict[str, Stamp] = {}
    with connection.cursor() as cursor:
        for some in batches(list(paths), _AT_ONCE):
            marks = ", ".join(["%s"] * len(some))
            cursor.execute(f"{_KNOWN} AND path IN ({marks})", [project_id, *some])
            known |= {path: (size, mtime_ns) for path, size, mtime_ns in cursor.fetchall()}
    return known


def learn_stamps(project_id: int, stamps: Iterable[tuple[str, Stamp]]) -> None:
    """Notes that tasks were made of these images."""
    rows = [(project_id, path, *stamp) for path, stamp in stamps]
    if rows:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(_LEARN, rows)


def wanted(storage: Any, found: Iterable[Path], settings: Settings) -> Iterator[Path]:
    """The files of which Label Studio is to make tasks. found: what the storage finds, for a person who asks.

    A file that has another size or time of change than when it last had a task is another image.
    """
    asked = _asked.get() or Asked()
    asked.images = images = _images(storage, settings, asked)
    files = found if asked.files is None else _named(storage, asked.files, settings)
    offered: set[str] = set()
    touched: list[str] = []
    for file in files:
        path, stamp = _path(file, settings), _stamp(file)
        if path is None or stamp is None:
            continue
        if path in images.tasks:
            if images.known.get(path) != stamp:
                touched.append(path)
            continue
        if _is_same(images.known.get(path), stamp) and not asked.again:
            continue
        if asked.files is None and (problem := _problem(file)):
            log.warning("%s becomes no task: %s", path, problem)
            continue
        asked.offered[str(file)] = path
        offered.add(path)
        yield file
    images.learn(touched)
    asked.deleted = sum(
        path not in images.tasks
        and path not in offered
        and _is_same(stamp, _stamp(settings.volumes_dir / path))
        for path, stamp in (images.known.items() if images.whole else ())
    )


def _images(storage: Any, settings: Settings, asked: Asked) -> ProjectImages:
    """As much of the project's images as is needed for what is asked."""
    if asked.files is not None and not asked.again and not asked.whole:
        files = _named(storage, asked.files, settings)
        stamps = {
            path: stamp for file in files if (path := _path(file, settings)) and (stamp := _stamp(file))
        }
        found = ProjectImages.of(storage.project_id, settings, stamps)
        if found is not None:
            return found
    return ProjectImages.read(storage.project_id, settings)


def watch() -> None:
    """Notes the images of a task whose data change: it has been read already, and is not read again."""
    post_save.connect(_data_may_have_changed, sender=Task, dispatch_uid="labelloop-images-of-tasks")


def _data_may_have_changed(instance: Any, created: bool, update_fields: Any, **more: Any) -> None:
    if created or (update_fields is not None and "data" not in update_fields):
        return
    names = _names(instance.data)
    unknown = names - known_stamps(instance.project_id, names).keys() if names else ()
    if unknown:
        ProjectImages(instance.project_id, get_settings()).learn(unknown)


def _names(data: object) -> set[str]:
    """The images that a task's data name, less what can be the name of no file, which no database keeps."""
    return {path for path in local_files(data) if _can_be_a_file(path)}


def _can_be_a_file(path: str) -> bool:
    parts = path.encode("utf-8", "surrogatepass").split(b"/")
    return "\0" not in path and max(map(len, parts)) <= LONGEST_NAME and len(path) <= LONGEST_PATH


def _is_same(known: Stamp | None, now: Stamp | None) -> bool:
    """Whether a file is the image that it was. A restore keeps the time of its last change to less than a
    microsecond; other copies to whole seconds, or to twos.
    """
    if known is None or now is None or known[0] != now[0]:
        return False
    leeway = ROUNDING_NS if now[1] % SECOND_NS else 2 * SECOND_NS
    return abs(known[1] - now[1]) <= leeway


def _named(storage: LocalFilesImportStorage, names: Iterable[str], settings: Settings) -> Iterator[Path]:
    """The named files that are the storage's by its path, its regex and whether it goes into subfolders."""
    folder = Path(storage.path)
    regex = re.compile(str(storage.regex_filter)) if storage.regex_filter else None
    for name in names:
        file = settings.images_dir / name
        inside = file.is_relative_to(folder) if storage.recursive_scan else file.parent == folder
        # `a/../b.jpg` would be another name of a file that has a task.
        if ".." in file.parts or not inside or (regex and not regex.match(file.name)):
            continue
        if _stamp(file) is not None and file.is_file():
            yield file


def _problem(file: Path) -> str:
    """Why a file is not to become a task, as far as it is told by decoding it; empty if it may."""
    try:
        examined = examine(file, file.name)
    except ImageError as error:
        return str(error)
    return examined.flaw if examined.torso else ""


def _path(file: Path, settings: Settings) -> str | None:
    return (
        file.relative_to(settings.volumes_dir).as_posix()
        if file.is_relative_to(settings.volumes_dir)
        else None
    )


def _stamp(file: Path) -> Stamp | None:
    try:
        stat = file.stat()
    except (OSError, ValueError):  # not there; a name that is too long, or with a null byte
        return None
    return stat.st_size, stat.st_mtime_ns
