"""Takes Label Studio's SQLite database over to PostgreSQL: `python -m provisioner.move_database`.

For `make move-database`, while nothing else runs. Every table of the file is copied row by row, in one
transaction, at whose end both sides are compared by counts and sums. So a kill leaves all of it or nothing,
and SQLite's file is only read. Prints {"tables": …, "rows": …, "annotations": …}, or the one key error, as
JSON.
"""

import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from labelloop.database_place import TABLES, USERS, DatabaseAccess
from labelloop.errors import Explained
from labelloop.settings import get_settings
from provisioner import django_app, postgres
from provisioner.row_copy import Columns, CopyError

_AT_ONCE = 1000
_OURS = re.compile(r"labelloop_\w+")
_MIGRATIONS = f"SELECT app || '.' || name FROM {postgres.MIGRATIONS}"
_COLUMNS = """
SELECT table_name, column_name, data_type, is_generated FROM information_schema.columns
WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND application_name <> 'labelloop'
"""


class MoveError(Explained):
    """The database can't be taken over as it is; nothing of it was."""


def main() -> int:
    try:
        print(json.dumps(move()))
    except Explained as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


def move() -> dict[str, int]:
    """Migrates the PostgreSQL database, where it is empty, and fills it. Returns: counts.

    Raises:
        MoveError, CopyError: something is in the way, and what.
        postgres.DatabaseError: PostgreSQL can't be used.
    """
    settings = get_settings()
    access = settings.postgres
    if access is None or not settings.database_path.is_file():
        raise MoveError(f"there is no DATABASE_URL to move to, or no {settings.database_path} to move from")
    with postgres.alone(access):
        with closing(postgres.connect(access)) as target:
            _check_is_free(target, access, _migrations(settings.database_path))
        django_app.setup()
        _migrate(access)
        with (
            closing(sqlite3.connect(settings.database_path, isolation_level=None)) as source,
            closing(postgres.connect(access)) as target,
        ):
            source.execute("BEGIN")
            _check_source(source, target)
            try:
                counts = _copy(source, target)
                target.commit()
                target.autocommit = True
                target.execute("ANALYZE")
            except postgres.server_error() as error:
                said = " ".join(str(error).split())
                raise MoveError(f"PostgreSQL refuses what {settings.database_path} holds: {said}") from error
    annotations = counts.get("task_completion", 0)
    return {"tables": len(counts), "rows": sum(counts.values()), "annotations": annotations}


def _migrate(access: DatabaseAccess) -> None:
    """Makes Label Studio's tables, and leaves no connection of its own."""
    from django.db import connections

    try:
        postgres.migrate(access)
    finally:
        connections.close_all()


def _migrations(file: Path) -> set[tuple[str, str]]:
    """Those that Label Studio's SQLite file has, by app and name; none where it can't be read."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as source:
            return set(source.execute(f"SELECT app, name FROM {postgres.MIGRATIONS}"))
    except sqlite3.Error:
        return set()


def _check_is_free(target: Any, access: DatabaseAccess, known: set[tuple[str, str]]) -> None:
    """Checks that nobody works on that database, and that it has no labels but those of an earlier move.

    Raises:
        MoveError, postgres.DatabaseError: somebody does, or it has.
    """
    if target.execute(_OTHERS).fetchone()[0]:
        raise MoveError(f"somebody works on {access.place}; end that, or name an empty database")
    with target.cursor() as cursor:
        postgres.check_is_no_others(cursor, access, known)
    there = {name for (name,) in target.execute(TABLES)}
    is_used = USERS in there and target.execute(f"SELECT 1 FROM {USERS} LIMIT 1").fetchone()
    if is_used and postgres.MOVED not in there:
        raise MoveError(f"{access.place} has users of a Label Studio already; name an empty database")


def _check_source(source: sqlite3.Connection, target: Any) -> None:
    """Raises MoveError: the file is damaged, behind or ahead, or has rows that refer to none."""
    [[verdict]] = source.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise MoveError(f"the SQLite file is damaged: {verdict}; `make restore FILE=…` has an earlier one")
    theirs = {name for (name,) in source.execute(_MIGRATIONS)}
    ours = {name for (name,) in target.execute(_MIGRATIONS)}
    if theirs != ours:
        first = min(theirs ^ ours)
        raise MoveError(f"the SQLite file is of another Label Studio ({first}); `make up` migrates it")
    astray = source.execute("PRAGMA foreign_key_check").fetchone()
    if astray is not None:
        table, row, parent, _ = astray
        raise MoveError(f"row {row} of {table} refers to one of {parent} that isn't there; delete it first")


def _copy(source: sqlite3.Connection, target: Any) -> dict[str, int]:
    """Fills the target's tables, in its open transaction. Returns: table → rows."""
    _make_ours(source, target)
    columns = _columns(source, target)
    names = ", ".join(f'"{name}"' for name in columns)
    target.execute("SET CONSTRAINTS ALL DEFERRED")
    target.execute(f"TRUNCATE {names} RESTART IDENTITY")
    counts = {}
    for name, each in columns.items():
        chosen = ", ".join(f'"{column}"' for column in each.names)
        select = f'SELECT {chosen} FROM "{name}"'
        with target.cursor() as cursor, cursor.copy(f'COPY "{name}" ({chosen}) FROM STDIN') as copying:
            for row in each.rows(source.execute(select)):
                copying.write_row(row)
        with target.cursor(name="copied") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(f'SELECT {each.for_sums} FROM "{name}"')
            copied = each.sum(cursor)
        wanted = each.sum(source.execute(select))
        if copied != wanted:
            raise CopyError(f"{name}: {wanted[0]} rows were read and {copied[0]} others are in PostgreSQL")
        counts[name] = wanted[0]
    _set_sequences(source, target, counts)
    target.execute(f"CREATE TABLE IF NOT EXISTS {postgres.MOVED} (at TIMESTAMPTZ DEFAULT now())")
    return counts


def _make_ours(source: sqlite3.Connection, target: Any) -> None:
    """Makes the appliance's own tables, which no migration makes."""
    for name, sql in source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall():
        if _OURS.fullmatch(name):
            wide = re.sub(r"\bREAL\b", "DOUBLE PRECISION", sql)
            target.execute(re.sub(r"^CREATE TABLE (?!IF)", "CREATE TABLE IF NOT EXISTS ", wide))


def _columns(source: sqlite3.Connection, target: Any) -> dict[str, Columns]:
    """By table, but for columns that PostgreSQL makes of others.

    Raises:
        MoveError: one database has a table or a column that the other has not.
    """
    types: dict[str, dict[str, str]] = {}
    made: dict[str, set[str]] = {}
    for table, column, kind, generated in target.execute(_COLUMNS):
        if generated == "NEVER":
            types.setdefault(table, {})[column] = kind
        else:
            made.setdefault(table, set()).add(column)
    types.pop(postgres.MOVED, None)
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    there = {name for (name,) in source.execute(tables)}
    ours = {table for table in types if _OURS.fullmatch(table)} - there
    if different := there ^ (types.keys() - ours):
        raise MoveError(f"only one of both databases has the table {min(different)}")
    for table in there:
        found = {row[1] for row in source.execute(f'PRAGMA table_info("{table}")')}
        if different := (found - made.get(table, set())) ^ types[table].keys():
            raise MoveError(f"only one of both databases has the column {table}.{min(different)}")
    return {table: Columns(table, types[table]) for table in sorted(there)}


def _set_sequences(source: sqlite3.Connection, target: Any, counts: dict[str, int]) -> None:
    """Numbers go on behind the last one ever given, be its row deleted or not."""
    given = dict(source.execute("SELECT name, seq FROM sqlite_sequence"))
    for name in counts:
        found = target.execute(
            "SELECT column_name, pg_get_serial_sequence(quote_ident(table_name), column_name) "
            "FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s",
            [name],
        ).fetchall()
        for column, sequence in found:
            if sequence is None:
                continue
            highest = target.execute(f'SELECT max("{column}") FROM "{name}"').fetchone()[0] or 0
            if last := max(highest, given.get(name) or 0):
                target.execute("SELECT setval(%s, %s)", [sequence, last])


if __name__ == "__main__":
    sys.exit(main())
