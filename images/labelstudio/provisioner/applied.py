"""Settings that were last applied to the account: address, password, administrators.

They are in a table of Label Studio's own database, so that a restore brings them back with the account.
"""

from collections.abc import Mapping

TABLE = "labelloop_applied"
_WRITE = f"""
INSERT INTO {TABLE} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


def read() -> dict[str, str]:
    """Name → value; empty before the first `write`. Label Studio has to be loaded."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        cursor.execute(f"SELECT name, value FROM {TABLE}")
        return dict(cursor.fetchall())


def write(values: Mapping[str, str]) -> None:
    """Replaces the values of these names."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, list(values.items()))
