"""Labelled near-duplicates of unlabelled images: whose boxes are proposed for which.

By project, volumes/rounds/twins-<id>.sqlite3 has the look of each task's image, which tasks are labelled, the
nearest labelled near-duplicate of each unlabelled one, and from which the stored prediction was made. All of
it can be made again. A run can be killed at any time and started again.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from labelloop.clocks import LEEWAY
from labelloop.images import ImageAway, ImageError
from labelloop.looks import NEAR, WORDS, Looks, are_near, distances, look_of
from labelloop.regions import read_regions
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, UNLABELLED, changed_after, where, with_prediction_of
from labelloop.task_images import resolve_task_image
from labelloop.twins import FIELD, Twin
from trainer.dataset.collector import newest_submitted
from trainer.dataset.following import Grey, follow, grey_of
from trainer.dataset.origin import earlier_name
from trainer.peers.projects import Project
from trainer.system.database import reading, set_aside, writing

log = logging.getLogger(__name__)

Row = dict[str, Any]

PAGE = 240
SCANNED = 100
SCAN_S = 10.0
LOOK_S = 5.0
"""So long a run looks at images that have no look yet. The rest waits for the next run."""
MOST = 240
"""So many stored predictions are made anew in a run."""
NEARER = 2
"""A prediction from a twin is made anew for another twin only if that is so many times nearer. Else each
labelled frame of a film would have all others predicted again."""
LAST_ID = 2**31 - 1
NOMINAL = 10000
ROWS = 64

# fresh: what was not yet compared with the others. apart: in bits. stamp: which annotation.
_TABLES = tuple(
    f"CREATE TABLE IF NOT EXISTS {table}"
    for table in (
        "looks (task INTEGER PRIMARY KEY, look BLOB, fresh INTEGER NOT NULL)",
        "labelled (task INTEGER PRIMARY KEY, stamp TEXT NOT NULL, fresh INTEGER NOT NULL)",
        "near (task INTEGER PRIMARY KEY, twin INTEGER NOT NULL, apart INTEGER NOT NULL)",
        "stored (task INTEGER PRIMARY KEY, version TEXT NOT NULL, twin INTEGER NOT NULL, "
        "stamp TEXT NOT NULL)",
        "state (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    )
)
_INDEX = "CREATE INDEX IF NOT EXISTS fresh_looks ON looks (fresh) WHERE fresh"
_ANY_FRESH = """
SELECT EXISTS (SELECT 1 FROM looks WHERE fresh)
OR EXISTS (SELECT 1 FROM labelled JOIN looks USING (task) WHERE labelled.fresh)
"""
_STALE = """
SELECT near.task FROM near
JOIN labelled ON labelled.task = near.twin LEFT JOIN stored ON stored.task = near.task
WHERE stored.task IS NULL OR (stored.version, stored.twin, stored.stamp) != (?, near.twin, labelled.stamp)
LIMIT ?
"""


def path_of(rounds_dir: Path, project_id: int) -> Path:
    return rounds_dir / f"twins-{project_id}.sqlite3"


def forget_all_but(rounds_dir: Path, projects: Container[int]) -> None:
    """Deletes the files of projects that are gone."""
    for path in rounds_dir.glob("twins-*.sqlite3*"):
        number = path.name.removeprefix("twins-").partition(".")[0]
        if number.isdecimal() and int(number) not in projects:
            path.unlink(missing_ok=True)


class Twins:
    """The labelled near-duplicates of a project's unlabelled images. One process at a time may use it."""

    def __init__(self, studio: Studio, settings: Settings, rounds_dir: Path, project: Project) -> None:
        self._studio = studio
        self._settings = settings
        self._project = project
        self._path = path_of(rounds_dir, project.id)

    def update(self, version: str, should_stop: Callable[[], bool], anew: bool = True) -> None:
        """Takes in what was labelled since the last run, and gives another name to the predictions of
        `version` that lack the boxes of a labelled twin, so that they are made anew. anew: whether they are;
        not so where other predictions would keep the tasks from getting new ones.

        Raises:
            StudioError: Label Studio does not answer. OSError: the disk is full.

        A file that is damaged is set aside, and what was in it is made again by the next runs.
        """
        try:
            self._update(version, should_stop, anew)
        except sqlite3.DatabaseError as error:
            if set_aside(self._path) is None:
                raise OSError(f"{self._path}: {error}") from error
            self._create()

    def _create(self) -> None:
        """Makes the file. One of another project that had this number, or of no project, is emptied."""
        with writing(self._path) as connection:
            for statement in (*_TABLES, _INDEX):
                connection.execute(statement)
            whose = connection.execute("SELECT value FROM state WHERE name = 'project'").fetchone()
            if whose is None or whose[0] != self._project.uid:
                for table in ("looks", "labelled", "near", "stored", "state"):
                    connection.execute(f"DELETE FROM {table}")
                connection.execute("INSERT INTO state VALUES ('project', ?)", (self._project.uid,))

    def _update(self, version: str, should_stop: Callable[[], bool], anew: bool) -> None:
        self._create()
        self._note_labelled(should_stop)
        with reading(self._path) as connection:
            if not connection.execute("SELECT 1 FROM labelled LIMIT 1").fetchone():
                return
        self._look_at_images(should_stop)
        self._compare()
        if anew:
            self._rename_stale(version, should_stop)

    def _note_labelled(self, should_stop: Callable[[], bool]) -> None:
        """Takes in the labelled tasks that were changed since the last scan, in the order of their ids.

        A scan that takes longer than SCAN_S goes on in the next run. state: since, when the last scan that
        was finished began; scan, when the present one did; listed, the last task that it took in.
        """
        until, began = time.monotonic() + SCAN_S, datetime.now(UTC).isoformat()
        with reading(self._path) as connection:
            state = dict(connection.execute("SELECT name, value FROM state").fetchall())
        conditions = [LABELLED, where("id", "in", {"min": int(state.get("listed", 0)) + 1, "max": LAST_ID})]
        if "since" in state:
            conditions.append(changed_after(datetime.fromisoformat(state["since"]) - LEEWAY))
        state = {"listed": "0"} | state | {"scan": state.get("scan", began)}
        tasks = self._studio.iter_tasks(
            self._project.id, *conditions, fields="all", omit="drafts,predictions", page_size=SCANNED
        )
        while page := list(islice(tasks, SCANNED)):
            self._take_in(page, state | {"listed": str(page[-1]["id"])})
            if should_stop() or time.monotonic() > until:
                return
        self._take_in([], {"since": state["scan"], "listed": "0"})
        with writing(self._path) as connection:
            connection.execute("DELETE FROM state WHERE name = 'scan'")

    def _take_in(self, tasks: Sequence[Row], state: Mapping[str, str]) -> None:
        rows = [(int(task["id"]), stamp) for task in tasks if (stamp := _stamp(task)) is not None]
        with writing(self._path) as connection:
            connection.executemany(
                "INSERT INTO labelled VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET stamp = excluded.stamp", rows
            )
            connection.executemany("DELETE FROM near WHERE task = ?", [(task,) for task, _ in rows])
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    def _look_at_images(self, should_stop: Callable[[], bool]) -> None:
        """Looks at the images of new tasks, in the order of these."""
        until = time.monotonic() + LOOK_S
        with reading(self._path) as connection:
            known = connection.execute("SELECT coalesce(max(task), 0) FROM looks").fetchone()[0]
        newer = where("id", "in", {"min": known + 1, "max": LAST_ID})
        for tasks in self._studio.task_pages(self._project.id, PAGE, newer):
            rows: list[tuple[int, bytes | None]] = []
            for task in tasks:
                if should_stop() or time.monotonic() > until:
                    break
                rows.append((int(task["id"]), self._look(task)))
            with writing(self._path) as connection:
                connection.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, 1)", rows)
            if len(rows) < len(tasks):
                return

    def _look(self, task: Row) -> bytes | None:
        grey = self._grey(task)
        if grey is None:
            return None
        look = look_of(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)))
        return None if look is None else look.tobytes()

    def _grey(self, task: Row) -> Grey | None:
        """A task's image; None if it is not a file of the appliance, or cannot be read."""
        url = self._project.labels.image_of(task.get("data"))
        with suppress(ImageError, OSError, MemoryError):
            if isinstance(url, str):
                file = resolve_task_image(url, self._settings, task["id"], _no_fetch)
                return grey_of(file) if isinstance(file, Path) else None
        return None

    def _compare(self) -> None:
        """Compares what is new with the rest."""
        with reading(self._path) as connection:
            if not connection.execute(_ANY_FRESH).fetchone()[0]:
                return
            rows = connection.execute(
                "SELECT looks.task, look, looks.fresh, labelled.task IS NOT NULL, "
                "coalesce(labelled.fresh, 0) FROM looks "
                "LEFT JOIN labelled ON labelled.task = looks.task WHERE look IS NOT NULL"
            ).fetchall()
            known = dict(connection.execute("SELECT task, apart FROM near").fetchall())
        tasks = np.array([row[0] for row in rows], dtype=np.int64)
        looks = np.frombuffer(b"".join(row[1] for row in rows), np.uint64).reshape(-1, WORDS)
        flags = np.array([row[2:5] for row in rows], dtype=bool).reshape(-1, 3)
        fresh, labelled, fresh_label = flags[:, 0], flags[:, 1], flags[:, 1] & (flags[:, 2] | flags[:, 0])
        limits = [known[task] // NEARER if task in known else NEAR for task in tasks.tolist()]
        nearest = _Nearest(looks, np.array(limits, dtype=np.int64))
        nearest.compare(np.flatnonzero(fresh_label), np.flatnonzero(~labelled))
        nearest.compare(np.flatnonzero(labelled), np.flatnonzero(fresh & ~labelled))
        found = np.flatnonzero(nearest.twin >= 0)
        pairs = zip(
            tasks[found].tolist(),
            tasks[nearest.twin[found]].tolist(),
            nearest.apart[found].tolist(),
            strict=True,
        )
        with writing(self._path) as connection:
            connection.executemany("INSERT OR REPLACE INTO near VALUES (?, ?, ?)", pairs)
            connection.execute("UPDATE looks SET fresh = 0 WHERE fresh")
            connection.execute(
                "UPDATE labelled SET fresh = 0 WHERE fresh AND task IN (SELECT task FROM looks)"
            )

    def _rename_stale(self, version: str, should_stop: Callable[[], bool]) -> None:
        """They are not deleted, because a person may have one open (FormerPredictions)."""
        with reading(self._path) as connection:
            stale = [row[0] for row in connection.execute(_STALE, (version, MOST))]
        if not stale:
            return
        which = where("id", "in_list", stale, "List")
        renamed = 0
        for task in self._studio.iter_tasks(
            self._project.id,
            UNLABELLED,
            which,
            with_prediction_of(version),
            fields="all",
            omit="annotations,drafts",
            page_size=PAGE,
        ):
            for prediction in task.get("predictions") or []:
                if prediction.get("model_version") == version:
                    if should_stop():
                        return
                    self._studio.rename_prediction(prediction["id"], earlier_name(version))
                    renamed += 1
        if renamed:
            log.info("project %d: %d images have a labelled near-duplicate now", self._project.id, renamed)
        self.note_stored(stale, version)

    def note_stored(self, tasks: Sequence[int], version: str) -> None:
        """Notes that predictions of `version` for these tasks have, or will have, the boxes of the twins."""
        marks = ",".join("?" * len(tasks))
        with writing(self._path) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO stored SELECT near.task, ?, near.twin, labelled.stamp FROM near "
                f"JOIN labelled ON labelled.task = near.twin WHERE near.task IN ({marks})",
                (version, *tasks),
            )

    def with_twins(self, tasks: Sequence[Row]) -> list[Row]:
        """The tasks, each that has a labelled twin with that twin's boxes, as they are now.

        Raises:
            StudioError: Label Studio does not answer.
        """
        marks = ",".join("?" * len(tasks))
        with reading(self._path) as connection:
            query = f"SELECT task, twin FROM near WHERE task IN ({marks})"
            twin_of = dict(connection.execute(query, [task["id"] for task in tasks]).fetchall())
        if not twin_of:
            return list(tasks)
        wanted = where("id", "in_list", sorted(set(twin_of.values())), "List")
        twins = {
            int(task["id"]): task
            for task in self._studio.iter_tasks(
                self._project.id, wanted, fields="all", omit="drafts,predictions", page_size=PAGE
            )
        }
        self._forget({twin for twin in twin_of.values() if _stamp(twins.get(twin, {})) is None})
        return [self._with_twin(task, twins.get(twin_of.get(task["id"], 0))) for task in tasks]

    def _with_twin(self, task: Row, twin: Row | None) -> Row:
        annotation = newest_submitted(twin.get("annotations")) if twin else None
        if twin is None or annotation is None:
            return task
        size = NOMINAL, NOMINAL
        found = read_regions(annotation.get("result") or [], self._project.labels, size)
        before, after = self._grey(twin), self._grey(task)
        if found.faults or found.excluding or before is None or after is None:
            return task
        percent = [tuple(100.0 * side / NOMINAL for side in corners) for corners in found.boxes.xyxy.tolist()]
        names = [self._project.labels.labels[label].value for label in found.boxes.labels]
        places = follow(before, after, [(x1, y1, x2, y2) for x1, y1, x2, y2 in percent])
        boxes = tuple((name, *place) for name, place in zip(names, places, strict=True))
        return {**task, FIELD: Twin(int(twin["id"]), boxes).row()}

    def _forget(self, twins: set[int]) -> None:
        """Forgets twins that are labelled no longer. Their near-duplicates are compared anew."""
        with writing(self._path) as connection:
            for twin in twins:
                near = "(SELECT task FROM near WHERE twin = ?)"
                connection.execute(
                    f"UPDATE looks SET fresh = 1 WHERE task = ? OR task IN {near}", (twin, twin)
                )
                connection.execute("DELETE FROM near WHERE twin = ?", (twin,))
                connection.execute("DELETE FROM labelled WHERE task = ?", (twin,))


def _stamp(task: Mapping[str, Any]) -> str | None:
    """Which annotation of the task counts; None without any."""
    annotation = newest_submitted(task.get("annotations"))
    return None if annotation is None else f"{annotation.get('id')} {annotation.get('updated_at')}"


def _no_fetch(url: str, trusted: str, token: str | None) -> Path | bytes:
    raise ImageAway("only files of the appliance are compared")


class _Nearest:
    """The nearest twin of each look (N, WORDS). limits: (N,) at most so many bits apart.

    twin: (N,) its index, -1 for none. apart: (N,) in bits; the first of those that are as near counts.
    """

    def __init__(self, looks: Looks, limits: NDArray[np.int64]) -> None:
        self._looks = looks
        self.apart = limits + 1
        self.twin = np.full(len(looks), -1, dtype=np.int64)

    def compare(self, twins: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Takes `twins` for twins of `others`, both indices of looks."""
        for start in range(0, len(twins) if len(others) else 0, ROWS):
            block = twins[start : start + ROWS]
            near = are_near(self._looks[block], self._looks[others])
            for row in np.flatnonzero(near.any(axis=1)):
                hits = others[near[row]]
                apart = distances(self._looks[block[row]], self._looks[hits])
                nearer = apart < self.apart[hits]
                self.apart[hits[nearer]], self.twin[hits[nearer]] = apart[nearer], block[row]
