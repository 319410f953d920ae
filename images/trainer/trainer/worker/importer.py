"""Turns images in volumes/images into tasks, and records by name the files that cannot be read.

The known files are in one SQLite file beside the rounds, so that another look costs only a stat per file.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelloop.errors import Explained
from labelloop.images import SUFFIXES, ImageBusy, ImageError, check_image
from labelloop.locks import holding
from labelloop.studio import Studio
from trainer.system.database import reading, set_aside, writing
from trainer.system.turns import in_turn

log = logging.getLogger(__name__)

SETTLED_S = 3.0
PATIENCE_S = 30.0
CLOCK_LEEWAY_S = 60.0
SYNC_SILENCE_S = 30.0
# Label Studio takes about 10 ms to make a task, and makes all of them in one request.
SYNC_S, SYNC_S_PER_IMAGE = 600.0, 0.05
NOT_UTF8 = "the file's name is not UTF-8; rename it"
_READ = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    reason TEXT,
    ctime_ns INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unchecked ON files (id) WHERE NOT checked;
CREATE INDEX IF NOT EXISTS unusable ON files (path) WHERE reason IS NOT NULL;
CREATE TABLE IF NOT EXISTS synced (storage TEXT PRIMARY KEY, newest INTEGER NOT NULL);
"""

# Upgrades an index without ctimes. After it, the next scan has every file checked once more.
_ADD_CTIME = "ALTER TABLE files ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0"

# The files found by one scan. They are in the database, so that they take no memory.
_FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    reason TEXT
) WITHOUT ROWID
"""

# Permissions or a link's target can be corrected without a change of size or mtime. The ctime changes with
# every change to a file.
_MERGE = """
INSERT INTO files (path, size, mtime_ns, ctime_ns, checked, reason)
SELECT found.path, found.size, found.mtime_ns, found.ctime_ns, found.reason IS NOT NULL, found.reason
FROM found LEFT JOIN files ON files.path = found.path
WHERE files.path IS NULL
    OR (files.size, files.mtime_ns, files.ctime_ns) != (found.size, found.mtime_ns, found.ctime_ns)
ON CONFLICT (path) DO UPDATE SET
    size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns,
    checked = excluded.checked, reason = excluded.reason
"""


class ImportFailed(Explained):
    """Label Studio could not make tasks of the files; the message says why."""


@dataclass(frozen=True)
class Problem:
    """A file below volumes/images that cannot be labelled, and why."""

    path: str
    reason: str


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
            if columns and "ctime_ns" not in columns:
                connection.execute(_ADD_CTIME)
            connection.executescript(_SCHEMA)

    def scan(self) -> float:
        """Brings the index up to date with the folder. Returns: the seconds since a file in it changed.

        Changes dated in the future do not count. The clock was ahead then, and nobody is writing that file
        now.
        """
        newest_change, future = 0.0, time.time() + CLOCK_LEEWAY_S

        def look() -> Iterator[tuple[str, int, int, int, str | None]]:
            nonlocal newest_change
            for path, entry, reason in _walk(self.images_dir):
                name = _printable(path)
                if entry is None:
                    yield name, 0, 0, 0, reason
                    continue
                stat = entry.stat()
                if stat.st_ctime <= future:
                    newest_change = max(newest_change, stat.st_ctime)
                problem = (reason if name == path else NOT_UTF8) or None
                yield name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, problem

        with writing(self.path) as connection:
            connection.execute(_FOUND)
            connection.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?)", look())
            connection.execute("DELETE FROM files WHERE path NOT IN (SELECT path FROM found)")
            connection.execute(_MERGE)
        return time.time() - newest_change

    def check(self, seconds: float, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Decodes files that were not decoded yet, for about `seconds`. Returns: how many are left.

        The results are written at the end in one transaction, because a transaction per file would wait for
        the disk longer than most files take to decode.
        """
        deadline = time.monotonic() + seconds
        with reading(self.path) as connection:
            rows = connection.execute(
                "SELECT path, size, mtime_ns, ctime_ns FROM files WHERE NOT checked ORDER BY id LIMIT ?",
                (_READ,),
            ).fetchall()
        learnt = []
        for path, *stamp in rows:
            if time.monotonic() > deadline or should_stop():
                break
            try:
                reason = self._reason(path)
            except ImageBusy as busy:
                log.info("%s: to be read later", busy)
                continue
            if reason:
                log.warning("%s cannot be used: %s", self.images_dir / path, reason)
            learnt.append((reason, path, *stamp))
        with writing(self.path) as connection:
            connection.executemany(
                "UPDATE files SET checked = 1, reason = ? "
                "WHERE path = ? AND (size, mtime_ns, ctime_ns) = (?, ?, ?)",
                learnt,
            )
            return int(connection.execute("SELECT count(*) FROM files WHERE NOT checked").fetchone()[0])

    def _reason(self, path: str) -> str | None:
        """Why a file cannot be labelled; None when it can. Raises ImageBusy when it cannot be checked now."""
        file = self.images_dir / path
        try:
            if not file.resolve().is_relative_to(self.images_dir.resolve()):
                return "the link leads out of volumes/images; copy the file instead"
            check_image(file, path)
        except ImageBusy:
            raise
        except ImageError as error:
            return str(error).removeprefix(f"{path}: ")
        except OSError as error:
            return error.strerror or str(error)
        return None

    def problems(self) -> list[Problem]:
        with reading(self.path) as connection:
            rows = connection.execute("SELECT path, reason FROM files WHERE reason IS NOT NULL ORDER BY path")
            return [Problem(path, reason) for path, reason in rows]

    def newest(self) -> int:
        """A number that grows whenever an image is added."""
        with reading(self.path) as connection:
            return int(
                connection.execute("SELECT coalesce(max(id), 0) FROM files WHERE reason IS NULL").fetchone()[
                    0
                ]
            )

    def synced(self, storage: str) -> int:
        """The value of `newest` when this storage was last synchronised; 0 when it never was."""
        with reading(self.path) as connection:
            row = connection.execute("SELECT newest FROM synced WHERE storage = ?", (storage,)).fetchone()
            return int(row[0]) if row else 0

    def record_sync(self, storage: str, newest: int) -> None:
        with writing(self.path) as connection:
            connection.execute("INSERT OR REPLACE INTO synced VALUES (?, ?)", (storage, newest))


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str] | None, str]]:
    """Every file below root except hidden ones: relative path, entry, and why it is no image ('' if its
    suffix is an image's).

    A folder or file that cannot be accessed comes with entry None and the reason.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                        continue
                    try:
                        entry.stat()
                    except OSError as error:
                        yield path, None, error.strerror or str(error)
                        continue
                    yield path, entry, _suffix_problem(entry.name)
        except OSError as error:
            if folder or not isinstance(error, FileNotFoundError):
                yield folder or ".", None, error.strerror or str(error)


def _suffix_problem(name: str) -> str:
    stem, dot, suffix = name.lower().rpartition(".")
    if dot + suffix in SUFFIXES:
        return ""
    kind = dot + suffix if stem else "a file without a suffix"
    return f"{kind} is not imported; {', '.join(s[1:] for s in SUFFIXES)} are"


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Importer:
    """Makes tasks for new images by making Label Studio synchronise the projects' local-files storages."""

    def __init__(self, index: ImageIndex, studio: Studio, rounds_dir: Path) -> None:
        self.index = index
        self._studio = studio
        self._lock = rounds_dir / "import.lock"
        self._unsettled_since: float | None = None
        self._deferred = False

    def run(self, project_ids: list[int], wait_s: float = 0.0, force: bool = False) -> int:
        """Imports new, complete images into these projects. Returns: how many tasks were made.

        While files are still being written to the folder, the import is left to a later call, but not for
        longer than PATIENCE_S.

        wait_s: how long to wait for another import to end, and for the folder to settle. force: synchronise
        even when nothing is new, so that images whose tasks were deleted get new ones.

        Raises:
            StudioError: Label Studio does not answer or refuses. ImportFailed: it could not take the files.
                Both are raised only after all projects had their turn.
            Busy: another process is importing.
        """
        deadline = time.monotonic() + wait_s
        self._deferred = False
        with holding(self._lock, wait_s):
            settled = self._settled(self.index.scan())
            while not settled and time.monotonic() < deadline:
                time.sleep(0.5)
                settled = self._settled(self.index.scan())
            if not settled and not force:
                return 0
            return sum(in_turn(lambda project_id: self._sync(project_id, force), project_ids))

    @property
    def waiting(self) -> bool:
        """Whether the last run left work, as files were being written or a synchronisation was under way."""
        return self._deferred or self._unsettled_since is not None

    def _settled(self, quiet_s: float) -> bool:
        if quiet_s < SETTLED_S:
            self._unsettled_since = self._unsettled_since or time.monotonic()
            if time.monotonic() - self._unsettled_since < PATIENCE_S:
                return False
        self._unsettled_since = None
        return True

    def _sync(self, project_id: int, force: bool) -> int:
        storages = self._studio.storages(project_id)
        return sum(in_turn(lambda storage: self._sync_storage(project_id, storage, force), storages))

    def _sync_storage(self, project_id: int, storage: dict[str, Any], force: bool) -> int:
        newest = self.index.newest()
        key = f"{storage['id']} {storage.get('created_at')}"
        if self.index.synced(key) >= newest and not force:
            return 0
        if _is_syncing(storage):
            self._deferred = True
            return 0
        before = self._studio.count_tasks(project_id)
        seconds = SYNC_S + SYNC_S_PER_IMAGE * newest
        self._require_success(self._studio.sync_storage(storage["id"], seconds))
        self.index.record_sync(key, newest)
        made = self._studio.count_tasks(project_id) - before
        if made:
            log.info("project %d: %d new tasks from %s", project_id, made, self.index.images_dir)
        return made

    def _require_success(self, storage: dict[str, Any]) -> None:
        """Raises ImportFailed if a synchronisation failed. Label Studio answers 200 even then, and reports
        the failure in the storage's status and traceback.
        """
        if storage.get("status") != "failed":
            return
        words = str(storage.get("traceback") or "").strip().splitlines() or ["no reason given"]
        unnamed = [problem.path for problem in self.index.problems() if problem.reason == NOT_UTF8]
        hint = f"; rename {', '.join(unnamed)}" if unnamed else ""
        raise ImportFailed(
            f"{self._studio.url}: storage {storage.get('id')} was not synchronised: {words[-1]}{hint}"
        )


def _is_syncing(storage: dict[str, Any]) -> bool:
    """Whether Label Studio is synchronising a storage already, e.g. since before the trainer was restarted.

    If asked again, it would start a second synchronisation beside the first, and both would make tasks for
    the same files.
    """
    if storage.get("status") not in ("queued", "in_progress"):
        return False
    times = [(storage.get("meta") or {}).get(name) for name in ("time_queued", "time_last_ping")]
    newest = max((datetime.fromisoformat(time_) for time_ in times if time_), default=None)
    # After the clock was set back, a dead synchronisation may be dated in the future.
    return newest is not None and abs((datetime.now(UTC) - newest).total_seconds()) < SYNC_SILENCE_S
