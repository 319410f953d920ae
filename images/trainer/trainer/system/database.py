"""Transactions on the trainer's SQLite files, which several processes use at once.

A damaged file gives way to a new one (`set_aside`): what it held can be made again, or is history.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from labelloop.locks import holding

log = logging.getLogger(__name__)

PATIENCE_S = 15.0
_PAUSE_S = 0.05
# What a neighbour who opens or closes the file brings about, and what passes when that is done. (One who is
# root owns a new write-ahead log until it has handed it over; for that moment nobody else can write.)
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one moment of the file.

    Raises:
        sqlite3.Error: the file cannot be read within PATIENCE_S.
    """
    with _begun(path, "BEGIN", "SELECT count(*) FROM sqlite_master") as connection:
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that nobody else writes in; committed at the end, undone by an exception.

    Raises:
        sqlite3.Error: the file cannot be written within PATIENCE_S.
    """
    with _begun(path, "BEGIN IMMEDIATE") as connection:
        yield connection


@contextmanager
def _begun(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = _connected(path, *statements)
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _PASSING or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
    with closing(connection), connection:
        yield connection


def _connected(path: Path, *statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE_S)
    try:
        connection.row_factory = sqlite3.Row
        for statement in ("PRAGMA journal_mode = WAL", *statements):
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def set_aside(path: Path) -> Path | None:
    """Renames the file, and what SQLite keeps beside it, when it is damaged; returns its new name, else None.

    Raises:
        sqlite3.Error: it cannot be told, e.g. because the disk is full. Busy: another process is at it.
    """
    with holding(path.with_name(f"{path.name}.lock"), PATIENCE_S):
        problem = _damage(path)
        if not problem:
            return None
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        for suffix in ("-wal", "-shm", ""):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
    log.error("%s is damaged (%s); it is %s now, and a new one takes its place", path, problem, aside.name)
    return aside


def _damage(path: Path) -> str:
    """What SQLite complains of; empty when the file is whole."""
    try:
        with reading(path) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            raise
        return str(error)
    return "" if found == "ok" else found
