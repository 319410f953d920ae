"""The table of rounds: queue and history in one SQLite file.

Several processes use it at once (worker, round process, web, CLI), so each call is one short transaction.
"""

import re
import sqlite3
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from labelloop import layout
from labelloop.errors import Explained
from labelloop.registry import Registry
from trainer.rounds import asking
from trainer.rounds.folder import LOG
from trainer.system.database import reading, set_aside, writing
from trainer.system.failures import TRACEBACK, without_traceback
from trainer.words import ordinal


class State(StrEnum):
    REQUESTED = "requested"
    SNAPSHOTTING = "snapshotting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PROMOTED = "promoted"
    KEPT = "kept"
    FAILED = "failed"
    CANCELLED = "cancelled"


CLOSED = frozenset({State.PROMOTED, State.KEPT, State.FAILED, State.CANCELLED})
OPEN = tuple(state for state in State if state not in CLOSED)
_GIVEN_UP = frozenset({State.FAILED, State.CANCELLED})
NEXT: dict[State, frozenset[State]] = {
    State.REQUESTED: _GIVEN_UP | {State.SNAPSHOTTING},
    State.SNAPSHOTTING: _GIVEN_UP | {State.TRAINING},
    State.TRAINING: _GIVEN_UP | {State.EVALUATING},
    State.EVALUATING: _GIVEN_UP | {State.PROMOTED, State.KEPT},
    **{state: frozenset() for state in CLOSED},
}


class RoundError(Explained):
    """The round does not exist, or its state does not allow the step."""


@dataclass(frozen=True)
class Round:
    """One row. Times are ISO 8601 in UTC. stage_progress is 0..1 within the state. labelled is the number of
    labelled images in the project when the round's snapshot was taken. nth: which of its project's rounds it
    is, from 1 on; all projects share the numbers in `id`.
    """

    id: int
    project: int
    state: State
    requested_by: str
    requested_at: str
    started_at: str | None
    finished_at: str | None
    stage_progress: float
    eta_seconds: float | None
    message: str
    version: str | None
    parent: str | None
    verdict: str | None
    error: str | None
    cancel_requested: bool
    labelled: int | None
    nth: int

    @property
    def closed(self) -> bool:
        return self.state in CLOSED

    @property
    def name(self) -> str:
        return folder_name(self.id)

    @property
    def called(self) -> str:
        """The number for a person: "7", or "7 (3rd of this project)" where others had some before."""
        return str(self.id) if self.nth == self.id else f"{self.id} ({ordinal(self.nth)} of this project)"

    @property
    def asked_for_by(self) -> str:
        """Why it began, for a person."""
        return asking.in_words(self.requested_by)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_LARGEST_ID = 2**63 - 1
_COUNTED = "nth"
_COLUMNS = tuple(field.name for field in fields(Round) if field.name != _COUNTED)
_SELECT = f"""
SELECT *, (SELECT count(*) FROM rounds AS own WHERE own.project = rounds.project AND own.id <= rounds.id)
    AS {_COUNTED} FROM rounds"""
_TABLE = """
CREATE TABLE IF NOT EXISTS rounds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    state TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    stage_progress REAL NOT NULL DEFAULT 0,
    eta_seconds REAL,
    message TEXT NOT NULL DEFAULT '',
    version TEXT,
    parent TEXT,
    verdict TEXT,
    error TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    labelled INTEGER
)
"""
_ONE_OPEN_ROUND = f"""
CREATE UNIQUE INDEX IF NOT EXISTS one_open_round ON rounds (project)
    WHERE state IN ({", ".join(f"'{state}'" for state in OPEN)})
"""
_FIRST_NUMBER = """
INSERT INTO sqlite_sequence (name, seq)
SELECT 'rounds', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'rounds')
"""
_NUMBER_ON = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'rounds'"
_FOLDER = re.compile(r"\d{5,10}")


def folder_name(round_id: int) -> str:
    return f"{round_id:05d}"


def log_name(round_id: int) -> str:
    """The path of a round's log, as an operator finds it."""
    return f"volumes/{layout.ROUNDS}/{folder_name(round_id)}/{LOG}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _round(row: sqlite3.Row) -> Round:
    values = {name: row[name] for name in (*_COLUMNS, _COUNTED)}
    values["state"], values["cancel_requested"] = State(values["state"]), bool(values["cancel_requested"])
    if TRACEBACK in (values["error"] or ""):  # as earlier releases wrote down some faults
        words = without_traceback(values["error"])
        values["error"] = f"{words or 'a fault that nobody foresaw'}; the log is {log_name(values['id'])}"
    return Round(**values)


class Rounds:
    """The rounds below one folder (volumes/rounds). registry: holds their versions."""

    def __init__(self, root: Path, registry: Registry | None = None) -> None:
        self.root = root
        self._registry = registry
        self.path = root / "rounds.sqlite3"
        root.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError:
            self.mend()

    def mend(self) -> None:
        """Begins a new table if the file is damaged. The history is lost then, and any open round."""
        set_aside(self.path)
        self._create()

    def damaged(self) -> list[Path]:
        """The files that `mend` set aside."""
        return [path for path in self.root.glob(f"{self.path.name}.damaged-*") if path.name[-1].isdigit()]

    def _create(self) -> None:
        with writing(self.path) as connection:
            if (
                connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'one_open_round'").fetchone()
                is None
            ):
                connection.execute(_TABLE)
                connection.execute(_ONE_OPEN_ROUND)

    def folder(self, round_id: int) -> Path:
        """The folder for a round's snapshot, log, metrics and checkpoints. It need not exist yet."""
        return self.root / folder_name(round_id)

    def request(self, project: int, requested_by: str) -> tuple[Round, bool]:
        """Opens a round, or joins the one that is open: (round, joined)."""
        used = self._highest_used()
        with writing(self.path) as connection:
            existing = self._open(connection, project)
            if existing is not None:
                return existing, True
            connection.execute(_FIRST_NUMBER)
            connection.execute(_NUMBER_ON, (used,))
            cursor = connection.execute(
                "INSERT INTO rounds (project, state, requested_by, requested_at) VALUES (?, ?, ?, ?)",
                (project, State.REQUESTED, requested_by, _now()),
            )
            return self._get(connection, int(cursor.lastrowid or 0)), False

    def _highest_used(self) -> int:
        """The highest round number among the folders and the versions' cards.

        The table may not know it: it can be restored from a backup or begun anew, while these stay.
        """
        folders = (int(path.name) for path in self.root.iterdir() if _FOLDER.fullmatch(path.name))
        named = self._registry.newest_round() if self._registry is not None else 0
        return max(named, *folders, 0)

    def get(self, round_id: int) -> Round:
        """The round with this id. Raises RoundError when there is none."""
        with reading(self.path) as connection:
            return self._get(connection, round_id)

    def open_round(self, project: int) -> Round | None:
        with reading(self.path) as connection:
            return self._open(connection, project)

    def open_rounds(self) -> list[Round]:
        """Open rounds of all projects, oldest request first."""
        with reading(self.path) as connection:
            rows = connection.execute(f"{_SELECT} WHERE state IN ({_marks()}) ORDER BY id", OPEN)
            return [_round(row) for row in rows]

    def history(self, project: int, limit: int = 100) -> list[Round]:
        """The newest rounds of a project, newest first, the open one included."""
        with reading(self.path) as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE project = ? ORDER BY id DESC LIMIT ?", (project, limit)
            )
            return [_round(row) for row in rows]

    def older(self, project: int, keep: int) -> list[Round]:
        """The closed rounds of a project without its newest `keep`, oldest first."""
        with reading(self.path) as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE project = ? ORDER BY id DESC LIMIT -1 OFFSET ?", (project, keep)
            )
            return [round_ for round_ in map(_round, rows) if round_.closed][::-1]

    def disown(self, project: int) -> None:
        """Separates the rounds of a deleted project from a new one that has its number now.

        The project of these rounds is the negative number from then on.
        """
        with writing(self.path) as connection:
            connection.execute("UPDATE rounds SET project = -project WHERE project = ?", (project,))

    def projects(self) -> set[int]:
        """The number of every project that has a round. For negative ones see `disown`."""
        with reading(self.path) as connection:
            return {int(row["project"]) for row in connection.execute("SELECT DISTINCT project FROM rounds")}

    def move(self, round_id: int, state: State, **columns: object) -> Round:
        """Moves a round to `state`, in which it may already be, and sets other columns.

        Raises:
            RoundError: there is no such round, or it cannot go from its state to `state`.
        """
        with writing(self.path) as connection:
            current = self._get(connection, round_id)
            if state == current.state and not current.closed:
                return self._set(connection, round_id, columns)
            if state not in NEXT[current.state]:
                raise RoundError(f"round {round_id} is {current.state}; it cannot become {state}")
            columns = {"state": state, "stage_progress": 0.0, "eta_seconds": None, "message": "", **columns}
            if current.state == State.REQUESTED:
                columns.setdefault("started_at", _now())
            if state in CLOSED:
                columns.update(finished_at=_now(), stage_progress=1.0)
            return self._set(connection, round_id, columns)

    def progress(
        self, round_id: int, fraction: float, message: str, eta_seconds: float | None = None
    ) -> None:
        """Records the progress (0..1) of the round's current state."""
        with writing(self.path) as connection:
            columns = {
                "stage_progress": min(max(fraction, 0.0), 1.0),
                "message": message,
                "eta_seconds": eta_seconds,
            }
            self._set(connection, round_id, columns)

    def record(self, round_id: int, **columns: object) -> Round:
        """Sets columns in any state."""
        with writing(self.path) as connection:
            return self._set(connection, round_id, columns)

    def cancel(self, round_id: int) -> Round:
        """Cancels a round that has not begun; asks a running one to stop.

        Raises:
            RoundError: there is no such round, or it is over.
        """
        with writing(self.path) as connection:
            current = self._get(connection, round_id)
            if current.closed:
                raise RoundError(
                    f"round {round_id} is over already: {current.verdict or current.error or current.state}"
                )
            columns: dict[str, object] = {"cancel_requested": 1}
            if current.state == State.REQUESTED:
                columns |= {
                    "state": State.CANCELLED,
                    "finished_at": _now(),
                    "verdict": "cancelled before it began",
                }
            return self._set(connection, round_id, columns)

    def cancel_requested(self, round_id: int) -> bool:
        return self.get(round_id).cancel_requested

    def _set(self, connection: sqlite3.Connection, round_id: int, columns: dict[str, Any]) -> Round:
        unknown = set(columns) - set(_COLUMNS)
        if unknown:
            raise RoundError(f"rounds have no column {', '.join(sorted(unknown))}")
        if columns:
            assignments = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(f"UPDATE rounds SET {assignments} WHERE id = ?", (*columns.values(), round_id))
        return self._get(connection, round_id)

    @staticmethod
    def _get(connection: sqlite3.Connection, round_id: int) -> Round:
        possible = 0 < round_id <= _LARGEST_ID
        row = possible and connection.execute(f"{_SELECT} WHERE id = ?", (round_id,)).fetchone()
        if not row:
            raise RoundError(f"there is no round {round_id}")
        return _round(row)

    @staticmethod
    def _open(connection: sqlite3.Connection, project: int) -> Round | None:
        row = connection.execute(
            f"{_SELECT} WHERE project = ? AND state IN ({_marks()})", (project, *OPEN)
        ).fetchone()
        return None if row is None else _round(row)


def _marks() -> str:
    return ", ".join("?" * len(OPEN))
