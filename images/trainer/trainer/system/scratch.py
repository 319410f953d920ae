"""Private, temporary databases: for what grows with the labelled images and must not fill the memory."""

import errno
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}

Values = Sequence[object]


class Scratch:
    """A database that any thread may use and nobody keeps.

    SQLite holds two megabytes of it in memory, the rest in a file below SQLITE_TMPDIR that has no name and is
    gone with the database. Every method raises OSError, with that folder's name, when the disk is full.
    """

    def __init__(self, schema: str) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # By itself a connection waits for the garbage collector, and its file with it.
        weakref.finalize(self, self._connection.close)
        self._connection.executescript(f"PRAGMA journal_mode = OFF; {schema}")

    def run(self, statement: str, values: Values = ()) -> None:
        with _disk_errors():
            self._connection.execute(statement, values)

    def run_many(self, statement: str, rows: Iterable[Values]) -> None:
        with _disk_errors():
            self._connection.executemany(statement, rows)

    def rows(self, query: str, values: Values = ()) -> Iterator[tuple[Any, ...]]:
        with _disk_errors():
            yield from self._connection.execute(query, values)

    def row(self, query: str, values: Values = ()) -> tuple[Any, ...] | None:
        """The first; None without any."""
        with _disk_errors():
            found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return found

    def number(self, query: str, values: Values = ()) -> int:
        """The only value of the only row."""
        found = self.row(query, values)
        assert found is not None, query
        return int(found[0])


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        number = _ERRNO.get(error.sqlite_errorcode & 0xFF)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), _folder()) from error


def _folder() -> str:
    """As SQLite looks for it."""
    return os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
