"""The tasks that a project has, to be found by the bytes or the name of their image."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelloop.boxes import Floats
from labelloop.files import sha256_file
from labelloop.images import ImageError, Source, image_size, upright
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_images import image_name, resolve_task_image
from trainer.intake.named_images import parts_of
from trainer.peers.projects import Project
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE tasks (
    task INTEGER PRIMARY KEY, path TEXT, base TEXT, size INTEGER, sha256 TEXT, url TEXT
);
CREATE INDEX tasks_by_base ON tasks (base);
CREATE INDEX tasks_by_size ON tasks (size, sha256, task);
"""
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_THUMB = 16
_ALIKE = 12.0  # mean difference of the thumbnails' grey values, of 255
_SAME_SHAPE = 0.01


@dataclass(frozen=True)
class Match:
    """A task. file: its image, where it is one of ours. by_name: found by its name alone."""

    task: int
    file: Path | None
    by_name: bool


class NoMatch(Exception):
    """An image cannot be told from others; the message says why."""


class Existing:
    """A project's tasks. Nothing of their images is read until one may be meant."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._volumes = settings.volumes_dir
        self._tasks = Scratch(_SCHEMA)

    def read(self, studio: Studio, project: Project, progress: Callable[[float, str], None]) -> None:
        """Asks Label Studio for all tasks."""
        total, labels = studio.count_tasks(project.id), project.labels
        for count, task in enumerate(studio.all_tasks(project.id), start=1):
            self.add(int(task["id"]), labels.image_of(task.get("data")))
            if not count % 100:
                progress(count / max(total, 1), f"{count} of {total}")

    def add(self, task: int, url: object) -> None:
        path = image_name(url) if isinstance(url, str) else ""
        file = self._volumes / path
        try:
            size = file.stat().st_size if path and file.is_file() else None
        except (OSError, ValueError):
            size = None
        base = _UPLOAD_PREFIX.sub("", path.rpartition("/")[2])
        values = (task, path, base, size, url if isinstance(url, str) else "")
        self._tasks.run("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, NULL, ?)", values)

    def by_bytes(self, size: int, sha256: str) -> Match | None:
        """The first task whose image has these bytes.

        Of the images of a size, each is read once, in the order of their tasks, until one has these bytes:
        all images of a camera may have one size.
        """
        known = "SELECT task, path FROM tasks WHERE size = ? AND sha256 = ? ORDER BY task"
        unread = "SELECT task, path FROM tasks WHERE size = ? AND sha256 IS NULL ORDER BY task"
        found = self._tasks.row(known, (size, sha256))
        while found is None and (row := self._tasks.row(unread, (size,))) is not None:
            found = row if self._digest(*row) == sha256 else None
        return None if found is None else Match(found[0], self._volumes / found[1], False)

    def by_name(self, name: str, file: Path | None) -> Match | None:
        """The task whose image has this name, and looks the same where both images are here.

        Raises:
            NoMatch: several tasks have an image of this name.
        """
        parts = parts_of(name)
        base = _UPLOAD_PREFIX.sub("", parts[-1]) if parts else ""
        rows = list(self._tasks.rows("SELECT task, path, size, url FROM tasks WHERE base = ?", (base,)))
        if file is not None:
            rows = [row for row in rows if self._looks_like(file, task=row[0], url=row[3])]
        if not rows:
            return None
        ranked = sorted(rows, key=lambda row: _common(parts_of(row[1]), parts), reverse=True)
        best = [
            row
            for row in ranked
            if _common(parts_of(row[1]), parts) == _common(parts_of(ranked[0][1]), parts)
        ]
        if len(best) > 1:
            listed = ", ".join(str(row[0]) for row in best[:5])
            raise NoMatch(f"several tasks have an image of this name: {listed}")
        task, path, size, _ = best[0]
        return Match(task, self._volumes / path if size is not None else None, True)

    def _looks_like(self, file: Path, task: int, url: str) -> bool:
        """Whether a task's image shows what the file does; it is fetched where it is not one of ours."""
        try:
            return looks_same(file, resolve_task_image(url, self._settings, task))
        except ImageError:
            return False

    def _digest(self, task: int, path: str) -> str:
        """The SHA-256 of a task's image, which is kept; empty where it cannot be read."""
        try:
            found = sha256_file(self._volumes / path)
        except OSError:
            found = ""
        self._tasks.run("UPDATE tasks SET sha256 = ? WHERE task = ?", (found, task))
        return found


def looks_same(one: Source, other: Source) -> bool:
    """Whether two images show the same picture: equal in shape, and alike when they are small and grey."""
    try:
        (w1, h1), (w2, h2) = image_size(one), image_size(other)
        if abs(w1 * h2 - w2 * h1) > _SAME_SHAPE * w1 * h2:
            return False
        return float(np.abs(_thumb(one) - _thumb(other)).mean()) <= _ALIKE
    except (ImageError, OSError, ValueError):
        return False


def _thumb(source: Source) -> Floats:
    with upright(source) as image:
        return np.asarray(image.resize((_THUMB, _THUMB)).convert("L"), np.float32)


def _common(path: tuple[str, ...], wanted: tuple[str, ...]) -> int:
    """How many parts two paths have in common before their names, counted from the ends."""
    count = 0
    for one, other in zip(reversed(path[:-1]), reversed(wanted[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count
