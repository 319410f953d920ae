"""Transactions on the trainer's SQLite files, which several processes use at once.

A damaged file is replaced by a new one (`set_aside`), as its contents can be made again or are only history.
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
# Errors that occur while another process opens or closes the file, and that pass when it is done. (A process
# that runs as root owns a new write-ahead log until it changes the owner; meanwhile nobody else can write.)
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees the file as it is at one moment.

    Raises:
        sqlite3.Error: the file cannot be read within PATIENCE_S.
    """
    with _begun(path, "BEGIN", "SELECT count(*) FROM sqlite_master") as connection:
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """The only writing transaction on the file. It is committed at the end, and rolled back on an exception.

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
    """Renames the file, and SQLite's files beside it, if it is damaged; returns its new name, else None.

    Raises:
        sqlite3.Error: the file cannot be checked, e.g. because the disk is full.
        Busy: another process is checking it.
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
    """SQLite's complaint about the file; empty when the file is whole."""
    try:
        with reading(path) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            raise
        return str(error)
    return "" if found == "ok" else found
