"""Copies of the SQLite databases, each of one moment, while they are written to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from lifecycle.backup import contents
from lifecycle.console import Failure
from lifecycle.database.client import Database
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


@dataclass(frozen=True)
class Moment:
    """copies: member name → copy. listing: what else there was when these were as they are copied.

    facts: what they hold.
    """

    copies: dict[str, Path]
    listing: contents.Listing
    facts: Facts


def take(home: Home, folder: Path, database: Optional[Database] = None) -> Moment:
    """Copies the databases into `folder`, all as they are at one moment, and lists rounds and models of then.

    For that moment the table of rounds is held, as its writers hold it: nobody opens a round or moves one on.
    It is a fraction of a second, since the copies are made afterwards, from transactions that began in it.
    Label Studio goes on writing meanwhile, and the order takes that into account. What refers to its rows
    (snapshots, provisioned.json, the index of images) is read before its database. What its rows refer to
    (models, which its predictions name) is read after it.

    database: Label Studio's on PostgreSQL, which is dumped as it is at that moment.

    Raises:
        Failure: a database is damaged or can't be read.
    """
    with ExitStack() as open_ones:
        live = {}
        sqlite = (contents.IMAGE_INDEX, *(() if database else (contents.DATABASE,)), contents.ROUNDS)
        moment = ""
        with _held(home.root / contents.ROUNDS):
            round_files = contents.round_files(home)
            provisioned = _text(home.provisioned)
            for name in sqlite:
                if (home.root / name).is_file():
                    live[name] = open_ones.enter_context(_reading(home.root / name))
            if database is not None:
                moment = open_ones.enter_context(database.moment())
            listing = contents.Listing(round_files, contents.listed_models(home))
        taken = {name: folder / Path(name).name for name in live}
        for name, copy in taken.items():
            _copy(home.root / name, live[name], copy)
        facts = _facts_of_postgres(database, moment) if database else None
        if database is not None:
            taken[contents.DUMP] = folder / Path(contents.DUMP).name
            database.dump(moment, taken[contents.DUMP])
    if provisioned is not None:
        taken[contents.PROVISIONED] = folder / home.provisioned.name
        taken[contents.PROVISIONED].write_text(provisioned)
    if facts is None:
        facts = _counted(taken[contents.DATABASE])
    return Moment(taken, listing, _with_rounds(facts, taken.get(contents.ROUNDS)))


def facts(database: Union[Path, Database], rounds: Optional[Path]) -> Facts:
    """Counts what Label Studio's database and the table of rounds hold.

    Raises:
        Failure: they lack a table; they are not these databases.
    """
    try:
        if isinstance(database, Path):
            return _with_rounds(_counted(database), rounds)
        with database.moment() as moment:
            return _with_rounds(_facts_of_postgres(database, moment), rounds)
    except sqlite3.Error as error:
        raise Failure(f"{rounds}", found=str(error), needed="the table of rounds") from error


def _counted(database: Path) -> Facts:
    try:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(_PROJECTS).fetchall()
            predictions = _count(connection, "prediction")
    except sqlite3.Error as error:
        raise Failure(f"{database.name}", found=str(error), needed="Label Studio's tables") from error
    return _facts(rows, predictions)


def _facts_of_postgres(database: Database, moment: str) -> Facts:
    """Titles come as JSON, since they may hold what separates fields."""
    asked = _PROJECTS.replace("project.title", "to_json(project.title)", 1)
    rows = [
        (int(row[0]), json.loads(row[1]), int(row[2]), int(row[3]))
        for row in database.ask_then(moment, asked)
    ]
    [[predictions]] = database.ask_then(moment, "SELECT count(*) FROM prediction")
    return _facts(rows, int(predictions))


def _facts(rows: Iterable[Sequence[Any]], predictions: int) -> Facts:
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
    return Facts(projects, counts)


def _with_rounds(facts: Facts, rounds: Optional[Path]) -> Facts:
    if rounds is None or not rounds.is_file():
        return facts
    with closing(sqlite3.connect(rounds)) as connection:
        return Facts(facts.projects, {**facts.counts, "rounds": _count(connection, "rounds")})


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextmanager
def _held(rounds: Path) -> Iterator[None]:
    """Keeps the table of rounds as it is: writers wait for the end of the block."""
    if not rounds.is_file():
        yield
        return
    with closing(_connected(rounds, "BEGIN IMMEDIATE")):
        yield


@contextmanager
def _reading(source: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees this moment of the database, whatever is written afterwards."""
    with closing(_connected(source, "BEGIN", "SELECT count(*) FROM sqlite_master")) as connection:
        yield connection


def _text(path: Path) -> Optional[str]:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _connected(source: Path, *statements: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(source, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            for statement in statements:
                connection.execute(statement).fetchall()
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:  # Locked for all this time, say.
        raise Failure(f"{source}", found=str(error), needed="a turn at it", do="Try again.") from error
    except sqlite3.Error as error:
        raise _damaged(source, str(error)) from error
    return connection


def _copy(source: Path, live: sqlite3.Connection, target: Path) -> None:
    """SQLite's online backup of what `live` sees; writers go on."""
    try:
        with closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            [[verdict]] = copy.execute("PRAGMA quick_check(1)")
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise _damaged(source, verdict)


def _damaged(source: Path, found: str) -> Failure:
    return Failure(
        f"{source}",
        found=found,
        needed="a whole database",
        do="An earlier backup in volumes/backups may have one: `make restore FILE=…`.",
    )
