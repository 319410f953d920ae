"""Private, temporary databases for data that grows with the labelled images and must not fill the memory."""

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
    """A temporary database that any thread may use.

    SQLite keeps two megabytes of it in memory and the rest in an unnamed file below SQLITE_TMPDIR, which
    disappears with the database. Every method raises OSError, with that folder's name, when the disk is full.
    """

    def __init__(self, schema: str) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Otherwise the connection, and its file, would stay open until the garbage collector runs.
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
        """The first row; None when there is none."""
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
    """The folder for temporary files, chosen the way SQLite chooses it."""
    return os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
