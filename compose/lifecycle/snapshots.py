"""Copies of the SQLite databases, each of one moment, while they are written to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from lifecycle import contents
from lifecycle.console import Failure
from lifecycle.home import Home

BUSY_SECONDS = 30.0

_PROJECTS = """
SELECT project.id, project.title,
    (SELECT count(*) FROM task WHERE task.project_id = project.id),
    (SELECT count(*) FROM task_completion WHERE task_completion.project_id = project.id AND NOT was_cancelled)
FROM project ORDER BY project.id
"""


@dataclass(frozen=True)
class Facts:
    """projects: id, title, tasks, annotations. counts: annotations, tasks, predictions, rounds."""

    projects: list[dict[str, Any]]
    counts: dict[str, int]


def take(home: Home, folder: Path) -> dict[str, Path]:
    """Copies the databases into `folder`. Returns: member name → copy.

    The trainer's come first, then Label Studio's. So a restored index of images never claims a task that
    the restored Label Studio lacks (it would not be made again), and a restored round is at most behind its
    folder and its model, which a restarted trainer takes for a round that was interrupted.

    Raises:
        Failure: a database is damaged or can't be read.
    """
    taken = {}
    for name in (contents.IMAGE_INDEX, contents.ROUNDS, contents.DATABASE):
        source = home.root / name
        if source.is_file():
            taken[name] = folder / source.name
            _copy(source, taken[name])
    return taken


def facts(database: Path, rounds: Optional[Path]) -> Facts:
    """Counts what Label Studio's database and the table of rounds hold.

    Raises:
        Failure: they lack a table; they are not these databases.
    """
    try:
        return _facts(database, rounds)
    except sqlite3.Error as error:
        raise Failure(f"{database.name}", found=str(error), needed="Label Studio's tables") from error


def _facts(database: Path, rounds: Optional[Path]) -> Facts:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(_PROJECTS).fetchall()
        predictions = _count(connection, "prediction")
    projects = [
        {"id": id_, "title": title, "tasks": tasks, "annotations": annotations}
        for id_, title, tasks, annotations in rows
    ]
    counts = {
        "annotations": sum(project["annotations"] for project in projects),
        "tasks": sum(project["tasks"] for project in projects),
        "predictions": predictions,
        "rounds": 0,
    }
    if rounds is not None and rounds.is_file():
        with closing(sqlite3.connect(rounds)) as connection:
            counts["rounds"] = _count(connection, "rounds")
    return Facts(projects, counts)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _copy(source: Path, target: Path) -> None:
    """SQLite's online backup: writers go on, and the copy holds all that was committed before it began."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            [[verdict]] = copy.execute("PRAGMA quick_check(1)")
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise Failure(
            f"{source}",
            found=verdict,
            needed="a whole database",
            do="An earlier backup in volumes/backups may have one: `make restore FILE=…`.",
        )
