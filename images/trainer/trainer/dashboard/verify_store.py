"""What the page Verify knows of one project: boxes to show, who has them before her, and what was answered.

Everything is in one SQLite file beside the project's versions, and each step is one transaction: a kill
between two steps loses no answer, and what was answered is handed in to Label Studio when the dashboard goes
on. A task is open, then due (answered, and on its way to Label Studio), then done; undoing while it is taken
back. One of which nothing was written, as somebody had begun to label it, is forgotten: it is found again
when she has given that up.
"""

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from sqlite3 import Connection, DatabaseError, Row
from uuid import uuid4

from trainer.dashboard import verify_rows
from trainer.dashboard.sure import Proposed
from trainer.dashboard.verify_values import Answered, Due, NotThisPage, Page
from trainer.system.database import reading, set_aside, writing

FILE = "verify.sqlite3"
CROPS = 24
LEASE_S = 600.0
"""So long nobody else gets the crops of a page."""
PAUSE_S = 300.0
"""A page that was looked at for longer was left alone meanwhile: its seconds are not recorded."""
UNDO_S = 24 * 3600.0
"""So long a page can be taken back."""
LONGEST_WAIT_S = 600.0
"""So long a task that is due waits at most for its next try."""
WRITTEN = "submitted", "drafted"
"""What became of a task of which Label Studio has something from here."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY, version TEXT, prediction INTEGER, image TEXT, width INTEGER, height INTEGER,
    rows TEXT, finishes INTEGER, state TEXT, unique_id TEXT, person INTEGER, did TEXT, after REAL
);
CREATE INDEX IF NOT EXISTS task_state ON task (state);
CREATE TABLE IF NOT EXISTS box (
    task INTEGER, number INTEGER, label TEXT, score REAL, x REAL, y REAL, width REAL, height REAL,
    page TEXT, place INTEGER, answer TEXT, marked INTEGER, seconds REAL, by TEXT, at REAL,
    PRIMARY KEY (task, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS box_free ON box (label, page, answer);
CREATE INDEX IF NOT EXISTS box_page ON box (page);
CREATE TABLE IF NOT EXISTS page (
    id TEXT PRIMARY KEY, person INTEGER, email TEXT, label TEXT, shown REAL, expires REAL, answered REAL,
    undoing INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_of ON page (person, answered);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_FREE = "answer IS NULL AND page IS NULL"


class Store:
    """Several threads may use it. folder: that of the project's versions."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = folder / FILE
        self._clock = clock
        try:
            self._create()
        except DatabaseError:
            set_aside(self.path)
            self._create()

    def _create(self) -> None:
        with writing(self.path) as database:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                database.execute(statement)
            # Earlier releases kept them, so that they never came back.
            _forget(database, f"state = 'done' AND (did NOT IN {WRITTEN} OR did = 'submitted' AND rows = '')")

    # What can be shown

    def begin(self, version: str, label_config: str) -> None:
        """Makes room for a version's boxes where those of another one are here, or such under another label
        config. Images that somebody has begun to verify stay when only the version is another one.
        """
        with writing(self.path) as database:
            before = verify_rows.note(database, "version"), verify_rows.note(database, "label_config")
            if before == (version, label_config):
                return
            begun = "SELECT task FROM box WHERE answer IS NOT NULL OR page IS NOT NULL"
            which = f"AND id NOT IN ({begun})" if before[1] == label_config else ""
            database.execute(f"DELETE FROM task WHERE state = 'open' {which}")
            database.execute("DELETE FROM box WHERE task NOT IN (SELECT id FROM task)")
            verify_rows.set_note(database, "version", version)
            verify_rows.set_note(database, "label_config", label_config)
            verify_rows.set_note(database, "cursor", "0")

    def put(self, found: Collection[Proposed], cursor: int, version: str, label_config: str) -> bool:
        """Adds images that are not known yet. cursor: up to which task's number Label Studio was asked.
        version, label_config: for which; nothing is added if `begin` has since named others.

        Returns: whether they were added.
        """
        with writing(self.path) as database:
            begun_for = verify_rows.note(database, "version"), verify_rows.note(database, "label_config")
            if begun_for != (version, label_config):
                return False
            for image in found:
                values = (image.task, image.version, image.prediction, image.image, *image.size)
                added = database.execute(
                    "INSERT OR IGNORE INTO task (id, version, prediction, image, width, height, rows, "
                    "finishes, state, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', 0)",
                    (*values, json.dumps(image.rows), image.finishes),
                )
                if added.rowcount:
                    database.executemany(
                        "INSERT INTO box (task, number, label, score, x, y, width, height, marked)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
                        ((image.task, box.number, box.label, box.score, *box.place) for box in image.boxes),
                    )
            verify_rows.set_note(database, "cursor", str(cursor))
        return True

    @property
    def cursor(self) -> int:
        with reading(self.path) as database:
            return int(verify_rows.note(database, "cursor") or 0)

    def ready(self) -> dict[str, int]:
        """By label, how many boxes wait for an answer and are before nobody."""
        with writing(self.path) as database:
            _free_expired(database, self._clock())
            return _ready(database)

    def image(self, task: int, number: int) -> tuple[str, tuple[float, float, float, float]] | None:
        """The URL of a task's image, and the place of one of its boxes in percent; None if it is unknown."""
        query = (
            "SELECT image, x, y, box.width, box.height FROM box JOIN task ON id = task "
            "WHERE task = ? AND number = ?"
        )
        with reading(self.path) as database:
            row = database.execute(query, (task, number)).fetchone()
        return None if row is None else (str(row[0]), (row[1], row[2], row[3], row[4]))

    # Pages

    def page(self, person: int, email: str, label: str | None) -> Page | None:
        """The page that the person has before her, else a new one of the label, or of the one with the most
        boxes; None when there is none. Boxes of images that can be finished come first.
        """
        now = self._clock()
        with writing(self.path) as database:
            _free_expired(database, now)
            for row in database.execute(
                "SELECT * FROM page WHERE person = ? AND answered IS NULL ORDER BY shown DESC", (person,)
            ).fetchall():
                if label in (None, row["label"]) and (crops := verify_rows.crops(database, row["id"])):
                    return Page(row["id"], row["label"], crops)
            ready = _ready(database)
            label = label or max(ready, key=lambda name: ready[name], default=None)
            if label is None or not ready.get(label):
                return None
            made = uuid4().hex[:16]
            database.execute(
                "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, NULL, 0)",
                (made, person, email, label, now, now + LEASE_S),
            )
            _fill(database, made, label)
            return Page(made, label, verify_rows.crops(database, made))

    def withdraw(self, page: str, tasks: Collection[int]) -> Page | None:
        """Forgets tasks that somebody has begun to label elsewhere, and puts other boxes on a page in the
        place of theirs. None when none is left. The page's time begins now.
        """
        now = self._clock()
        with writing(self.path) as database:
            for task in tasks:
                _forget(database, "id = ?", task)
            row = database.execute("SELECT * FROM page WHERE id = ?", (page,)).fetchone()
            if row is None:  # its time was over, and others have its crops
                return None
            _fill(database, page, row["label"])
            database.execute(
                "UPDATE page SET shown = ?, expires = ? WHERE id = ?", (now, now + LEASE_S, page)
            )
            crops = verify_rows.crops(database, page)
            return Page(page, row["label"], crops) if crops else None

    def answer(self, page: str, person: int, wrong: Collection[int], seconds: float | None) -> Answered:
        """Notes the answers. wrong: places on the page; all others are right. seconds: that the person
        looked, by her browser; no more than by our own clock.

        Raises:
            NotThisPage: it is another's, was answered, or its time is over and others have its crops.
        """
        now = self._clock()
        with writing(self.path) as database:
            row = _own(database, page, person)
            boxes = database.execute(
                "SELECT task, number, place FROM box WHERE page = ? AND answer IS NULL", (page,)
            ).fetchall()
            if not boxes:
                raise NotThisPage("These crops were given to somebody else meanwhile. Nothing was written.")
            spent = now - float(row["shown"])
            spent = min(spent, seconds) if seconds is not None and seconds > 0 else spent
            each = spent / len(boxes) if 0 < spent <= PAUSE_S else None
            database.executemany(
                "UPDATE box SET answer = ?, seconds = ?, by = ?, at = ? WHERE task = ? AND number = ?",
                (
                    ("wrong" if box["place"] in wrong else "right", each, row["email"], now)
                    + (box["task"], box["number"])
                    for box in boxes
                ),
            )
            database.execute("UPDATE page SET answered = ? WHERE id = ?", (now, page))
            lacking = "SELECT count(*) FROM box WHERE task = ? AND answer IS NULL"
            tasks = {int(box["task"]) for box in boxes}
            due = [task for task in tasks if not verify_rows.number(database, lacking, task)]
            database.executemany(
                "UPDATE task SET state = 'due', unique_id = ?, person = ?, after = 0 WHERE id = ?",
                ((str(uuid4()), person, task) for task in due),
            )
            _forget_old(database, now)
        wrongs = sum(box["place"] in wrong for box in boxes)
        return Answered(len(boxes) - wrongs, wrongs, len(due))

    # On the way to Label Studio, and back

    def due(self, most: int) -> list[Due]:
        """What is to be handed in now."""
        now = self._clock()
        waits = "after > ? AND after < ?"
        query = f"SELECT * FROM task WHERE state = 'due' AND NOT ({waits}) ORDER BY id LIMIT ?"
        with reading(self.path) as database:
            rows = database.execute(query, (now, now + 2 * LONGEST_WAIT_S, most)).fetchall()
            return [verify_rows.due(database, row) for row in rows]

    def settle(self, task: int, unique_id: str, did: str, wait_s: float = 0.0) -> None:
        """Notes what became of a task that was due. wait_s: it stays due, and is tried again after that."""
        state = "due" if wait_s else "done"
        with writing(self.path) as database:
            database.execute(
                "UPDATE task SET state = ?, did = ?, after = ? "
                "WHERE id = ? AND unique_id = ? AND state = 'due'",
                (state, did, self._clock() + wait_s, task, unique_id),
            )
            _forget(database, f"id = ? AND state = 'done' AND did NOT IN {WRITTEN}", task)

    def last_answered(self, person: int) -> str | None:
        """The page that the person answered last and can take back."""
        now = self._clock()
        lately = "answered > ? AND answered < ?"
        query = f"SELECT id FROM page WHERE person = ? AND {lately} ORDER BY answered DESC LIMIT 1"
        with reading(self.path) as database:
            row = database.execute(query, (person, now - UNDO_S, now + LEASE_S)).fetchone()
        return None if row is None else str(row[0])

    def begin_undo(self, page: str) -> None:
        """From now on the page is being taken back, whatever happens."""
        with writing(self.path) as database:
            database.execute("UPDATE page SET undoing = 1 WHERE id = ?", (page,))
            database.execute(
                "UPDATE task SET state = 'undoing' WHERE id IN (SELECT task FROM box WHERE page = ?) AND "
                "(state = 'due' OR state = 'done' AND did IN ('submitted', 'drafted'))",
                (page,),
            )

    def undoing(self) -> list[str]:
        with reading(self.path) as database:
            return [str(row[0]) for row in database.execute("SELECT id FROM page WHERE undoing")]

    def to_take_back(self, page: str) -> list[Due]:
        """What has to be taken back in Label Studio for a page."""
        query = (
            "SELECT * FROM task WHERE state = 'undoing' AND id IN (SELECT task FROM box WHERE page = ?) "
            "ORDER BY id"
        )
        with reading(self.path) as database:
            return [verify_rows.due(database, row) for row in database.execute(query, (page,)).fetchall()]

    def undone(self, page: str, kept: Collection[int]) -> int:
        """Puts a page before its person again, with the marks that it had; returns how many crops it has.
        kept: tasks that could not be taken back.
        """
        now = self._clock()
        with writing(self.path) as database:
            for row in database.execute("SELECT DISTINCT task FROM box WHERE page = ?", (page,)).fetchall():
                state = "done" if row["task"] in kept else "open"
                database.execute(
                    "UPDATE task SET state = ? WHERE id = ? AND state = 'undoing'", (state, row["task"])
                )
            database.execute(
                "UPDATE box SET marked = answer = 'wrong', answer = NULL, seconds = NULL WHERE page = ? AND "
                "task IN (SELECT id FROM task WHERE state = 'open')",
                (page,),
            )
            database.execute(
                "UPDATE page SET answered = NULL, undoing = 0, shown = ?, expires = ? WHERE id = ?",
                (now, now + LEASE_S, page),
            )
            return len(verify_rows.crops(database, page))


def _free_expired(database: Connection, now: float) -> None:
    over = "answered IS NULL AND NOT undoing AND NOT (expires >= ? AND expires < ?)"
    between = now, now + 2 * LEASE_S
    database.execute(
        "UPDATE box SET page = NULL, place = NULL, marked = 0 WHERE answer IS NULL AND page IN "
        f"(SELECT id FROM page WHERE {over})",
        between,
    )
    database.execute(f"DELETE FROM page WHERE {over}", between)


def _ready(database: Connection) -> dict[str, int]:
    query = f"SELECT label, count(*) FROM box WHERE {_FREE} GROUP BY label ORDER BY label"
    return {str(label): int(count) for label, count in database.execute(query)}


def _fill(database: Connection, page: str, label: str) -> None:
    """Gives a page as many boxes as it lacks."""
    taken = {int(row[0]) for row in database.execute("SELECT place FROM box WHERE page = ?", (page,))}
    free = [place for place in range(1, CROPS + 1) if place not in taken]
    rows = database.execute(
        f"SELECT task, number FROM box JOIN task ON id = task WHERE label = ? AND {_FREE} AND state = 'open' "
        "ORDER BY finishes DESC, score DESC, task, number LIMIT ?",
        (label, len(free)),
    ).fetchall()
    database.executemany(
        "UPDATE box SET page = ?, place = ? WHERE task = ? AND number = ?",
        ((page, place, row["task"], row["number"]) for place, row in zip(free, rows, strict=False)),
    )


def _own(database: Connection, page: str, person: int) -> Row:
    row: Row | None = database.execute("SELECT * FROM page WHERE id = ?", (page,)).fetchone()
    if row is None or row["person"] != person:
        raise NotThisPage("This page is too old: its crops may be before somebody else. Nothing was written.")
    if row["answered"] is not None or row["undoing"]:
        raise NotThisPage("This page was answered already. Nothing was written twice.")
    return row


def _forget_old(database: Connection, now: float) -> None:
    """Drops what nobody can take back any more. That a task was left as a draft stays known; of one that was
    submitted Label Studio knows whether it is still labelled.
    """
    old = "id IN (SELECT task FROM box WHERE page IN (SELECT id FROM page WHERE answered < ?))"
    _forget(database, f"state = 'done' AND did = 'submitted' AND {old}", now - UNDO_S)
    database.execute(
        f"UPDATE task SET rows = '' WHERE state = 'done' AND rows != '' AND {old}", (now - UNDO_S,)
    )
    database.execute("DELETE FROM box WHERE task IN (SELECT id FROM task WHERE rows = '')")
    database.execute(
        "DELETE FROM page WHERE answered < ? AND id NOT IN (SELECT page FROM box WHERE page IS NOT NULL)",
        (now - UNDO_S,),
    )


def _forget(database: Connection, which: str, *values: object) -> None:
    """Tasks and their boxes. which: the condition, with values for its question marks."""
    tasks = [(int(row[0]),) for row in database.execute(f"SELECT id FROM task WHERE {which}", values)]
    database.executemany("DELETE FROM box WHERE task = ?", tasks)
    database.executemany("DELETE FROM task WHERE id = ?", tasks)
