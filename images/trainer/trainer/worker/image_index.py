"""The index of the files below volumes/images: which are whole, which wait, and which nobody can read.

It is one SQLite file beside the rounds, so that another look costs only a stat per file.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelloop.clocks import LEEWAY_S
from labelloop.images import ImageAway, ImageError, examine
from trainer.system.database import reading, set_aside, writing
from trainer.worker.image_files import walk

log = logging.getLogger(__name__)

SETTLED_S = 3.0
CUT_WAIT_S = 60.0
"""A file that lacks no more than its end may still be being copied; so long after its last change it is taken
as it is.
"""
RETRY_S = 30.0
NOT_UTF8 = "the file's name is not UTF-8; rename it"
BEING_WRITTEN = "is still being written"
NOT_WHOLE = "it becomes a task once all of it is there; if nobody is copying it, copy it again"
_READ = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    reason TEXT,
    ctime_ns INTEGER NOT NULL DEFAULT 0,
    ready INTEGER,
    note TEXT,
    look_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unchecked ON files (id) WHERE NOT checked;
CREATE INDEX IF NOT EXISTS unusable ON files (path) WHERE reason IS NOT NULL;
CREATE INDEX IF NOT EXISTS noted ON files (path) WHERE note IS NOT NULL;
CREATE INDEX IF NOT EXISTS in_turn ON files (ready) WHERE ready IS NOT NULL;
CREATE TABLE IF NOT EXISTS synced (storage TEXT PRIMARY KEY, newest INTEGER NOT NULL);
"""
# ready: files become tasks in this order; NULL until a file is whole. note: what a file that waits waits for,
# or what one that is ready lacks. look_at: when a file that waits is decoded again.

# Upgrades an index of an earlier version. After the first, the next scan has every file checked once more.
# Before `ready`, every file without a reason had been handed to Label Studio in the order of the ids.
_UPGRADES = {
    "ctime_ns": ("ALTER TABLE files ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0",),
    "ready": (
        "ALTER TABLE files ADD COLUMN ready INTEGER",
        "ALTER TABLE files ADD COLUMN note TEXT",
        "ALTER TABLE files ADD COLUMN look_at REAL NOT NULL DEFAULT 0",
        "UPDATE files SET ready = id WHERE reason IS NULL",
    ),
}

# The files found by one scan. They are in the database, so that they take no memory.
_FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    reason TEXT
) WITHOUT ROWID
"""

# Permissions or a link's target can be corrected without a change of size or mtime. The ctime changes with
# every change to a file. With other bytes under the same name it is another image, which is offered anew.
_MERGE = """
INSERT INTO files (path, size, mtime_ns, ctime_ns, checked, reason)
SELECT found.path, found.size, found.mtime_ns, found.ctime_ns, found.reason IS NOT NULL, found.reason
FROM found LEFT JOIN files ON files.path = found.path
WHERE files.path IS NULL
    OR (files.size, files.mtime_ns, files.ctime_ns) != (found.size, found.mtime_ns, found.ctime_ns)
ON CONFLICT (path) DO UPDATE SET
    ready = CASE
        WHEN excluded.reason IS NULL AND (files.size, files.mtime_ns) = (excluded.size, excluded.mtime_ns)
        THEN files.ready END,
    size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns,
    checked = excluded.checked, reason = excluded.reason, note = NULL, look_at = 0
"""

_LAST_READY = """
SELECT max(coalesce((SELECT max(ready) FROM files), 0), coalesce((SELECT max(newest) FROM synced), 0))
"""


@dataclass(frozen=True)
class Problem:
    """A file below volumes/images, and why it is no task, or what it lacks."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Learnt:
    """What decoding a file has shown. again_at: when to decode it again; None when that is known for good."""

    reason: str | None = None
    note: str | None = None
    again_at: float | None = None


class ImageIndex:
    """The index of the files below volumes/images."""

    def __init__(self, rounds_dir: Path, images_dir: Path) -> None:
        self.images_dir = images_dir
        self.path = rounds_dir / "images.sqlite3"
        rounds_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError:
            self.mend()

    def mend(self) -> None:
        """Replaces a damaged index by an empty one. The next scan fills it."""
        aside = set_aside(self.path)
        if aside is not None:
            for leftover in aside.parent.glob(f"{aside.name}*"):
                leftover.unlink()
        self._create()

    def _create(self) -> None:
        with writing(self.path) as connection:
            columns = [row["name"] for row in connection.execute("PRAGMA table_info(files)")]
            for name, statements in _UPGRADES.items() if columns else ():
                for statement in statements if name not in columns else ():
                    connection.execute(statement)
            connection.executescript(_SCHEMA)

    def scan(self) -> float:
        """Brings the index up to date with the folder. Returns: the seconds since a file in it changed.

        Changes dated in the future do not count. The clock was ahead then, and nobody is writing that file
        now.
        """
        newest_change, future = 0.0, time.time() + LEEWAY_S

        def look() -> Iterator[tuple[str, int, int, int, str | None]]:
            nonlocal newest_change
            for found in walk(self.images_dir):
                name = _printable(found.path)
                if found.stat is None:
                    yield name, 0, 0, 0, found.problem
                    continue
                stat = found.stat
                if stat.st_ctime <= future:
                    newest_change = max(newest_change, stat.st_ctime)
                problem = (found.problem if name == found.path else NOT_UTF8) or None
                yield name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, problem

        with writing(self.path) as connection:
            connection.execute(_FOUND)
            connection.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?)", look())
            connection.execute("DELETE FROM files WHERE path NOT IN (SELECT path FROM found)")
            connection.execute(_MERGE)
        return time.time() - newest_change

    def check(self, seconds: float, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Decodes files that stand still and were not decoded yet, for about `seconds`. Returns: how many are
        left that could be decoded now.

        The results are written at the end in one transaction, because a transaction per file would wait for
        the disk longer than most files take to decode.
        """
        deadline, now = time.monotonic() + seconds, time.time()
        with reading(self.path) as connection:
            rows = connection.execute(
                f"SELECT path, size, mtime_ns, ctime_ns FROM files WHERE {_DUE} ORDER BY id LIMIT ?",
                (*_due_at(now), _READ),
            ).fetchall()
        learnt = []
        for path, *stamp in rows:
            if time.monotonic() > deadline or should_stop():
                break
            found = self._look_at(path, now - stamp[-1] / 1e9)
            if found.reason or (found.note and found.again_at is None):
                log.warning("%s: %s", self.images_dir / path, found.reason or found.note)
            learnt.append((found, path, *stamp))
        with writing(self.path) as connection:
            ready = int(connection.execute(_LAST_READY).fetchone()[0])
            for found, *known in learnt:
                usable = found.again_at is None and found.reason is None
                connection.execute(
                    "UPDATE files SET checked = ?, reason = ?, note = ?, look_at = ?, "
                    "ready = CASE WHEN ? THEN coalesce(ready, ?) END "
                    "WHERE path = ? AND (size, mtime_ns, ctime_ns) = (?, ?, ?)",
                    (
                        found.again_at is None,
                        found.reason,
                        found.note,
                        found.again_at or 0,
                        usable,
                        ready := ready + 1,
                        *known,
                    ),
                )
            due = f"SELECT count(*) FROM files WHERE {_DUE}"
            return int(connection.execute(due, _due_at(time.time())).fetchone()[0])

    def _look_at(self, path: str, age_s: float) -> _Learnt:
        """age_s: the seconds since the file's last change, negative if that is dated in the future."""
        file = self.images_dir / path
        try:
            examined = examine(file, path)
        except ImageAway as away:
            log.info("%s: to be read later", away)
            return _Learnt(note=_without(str(away), path), again_at=time.time() + RETRY_S)
        except ImageError as error:
            return _Learnt(reason=_without(str(error), path))
        except OSError as error:
            return _Learnt(reason=error.strerror or str(error))
        if examined.torso:
            return _Learnt(reason=f"{examined.flaw}; {NOT_WHOLE}")
        if examined.flaw and 0 <= age_s < CUT_WAIT_S:
            again_at = time.time() - age_s + CUT_WAIT_S
            return _Learnt(note=f"{examined.flaw}, or {BEING_WRITTEN}", again_at=again_at)
        return _Learnt(note=examined.flaw or None)

    def problems(self) -> list[Problem]:
        """The files that are no images, or that nobody can read."""
        return self._listed("SELECT path, reason FROM files WHERE reason IS NOT NULL ORDER BY path")

    def waiting(self) -> list[Problem]:
        """The files that are no tasks yet, since they may not be whole."""
        return self._listed(
            f"SELECT path, coalesce(note, '{BEING_WRITTEN}') FROM files WHERE NOT checked ORDER BY path"
        )

    def flawed(self) -> list[Problem]:
        """The files that are read although something of them is missing."""
        return self._listed("SELECT path, note FROM files WHERE note IS NOT NULL AND checked ORDER BY path")

    def _listed(self, query: str) -> list[Problem]:
        with reading(self.path) as connection:
            return [Problem(path, reason) for path, reason in connection.execute(query)]

    def newest(self) -> int:
        """A number that grows whenever an image becomes ready."""
        with reading(self.path) as connection:
            return int(connection.execute("SELECT coalesce(max(ready), 0) FROM files").fetchone()[0])

    def ready(self, after: int, up_to: int) -> list[str]:
        """The images that became ready when `newest` was in the range, sorted by their names without folders,
        as Label Studio sorts them.
        """
        with reading(self.path) as connection:
            rows = connection.execute("SELECT path FROM files WHERE ready > ? AND ready <= ?", (after, up_to))
            return sorted((str(path) for (path,) in rows), key=lambda path: (Path(path).name, path))

    def synced(self, storage: str) -> int:
        """The value of `newest` when this storage was last synchronised; 0 when it never was."""
        with reading(self.path) as connection:
            row = connection.execute("SELECT newest FROM synced WHERE storage = ?", (storage,)).fetchone()
            return int(row[0]) if row else 0

    def record_sync(self, storage: str, newest: int) -> None:
        with writing(self.path) as connection:
            connection.execute("INSERT OR REPLACE INTO synced VALUES (?, ?)", (storage, newest))


# Not decoded yet, to be looked at by now, and unchanged for SETTLED_S or dated in the future. What was to
# wait longer than CUT_WAIT_S got its time while the clock was ahead.
_DUE = "NOT checked AND (look_at <= ? OR look_at > ?) AND (ctime_ns <= ? OR ctime_ns > ?)"


def _due_at(now: float) -> tuple[float, float, int, int]:
    """The values for `_DUE`."""
    ahead = now + LEEWAY_S
    return now, ahead + CUT_WAIT_S, int((now - SETTLED_S) * 1e9), int(ahead * 1e9)


def _without(words: str, path: str) -> str:
    return words.removeprefix(f"{path}: ")


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
