"""How often a password may be tried at Label Studio's doors, counted in its database.

Label Studio runs as several processes, and as several containers with REPLICAS. A count in each one's memory
would let each be tried as often again. What was noted in the future was noted while the clock was ahead, and
counts no longer: otherwise nobody of that name, or from there, would come in before that time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from labelloop.clocks import LEEWAY_S
from labelloop.throttle import PER_ADDRESS, PER_USER, WINDOW_S

TABLE = "labelloop_attempts"
_LOCK = 6_004_102
"""The key of the advisory lock under which an attempt is counted on PostgreSQL."""
_SINCE = (
    f"SELECT tried FROM {TABLE} WHERE who = %s AND tried > %s AND tried <= %s ORDER BY tried DESC "
    "LIMIT 1 OFFSET %s"
)
_FORGET = f"DELETE FROM {TABLE} WHERE tried <= %s OR tried > %s"
_NEWEST = f"DELETE FROM {TABLE} WHERE who = %s AND tried = (SELECT max(tried) FROM {TABLE} WHERE who = %s)"


def attempt(name: str, address: str) -> float:
    """Counts an attempt if it is allowed, and returns 0.0; else returns the seconds until it will be.

    Allowed are PER_USER of a name and PER_ADDRESS of an address within WINDOW_S seconds.
    """
    allowed = {_name(name): PER_USER, _address(address): PER_ADDRESS}
    with connection.cursor() as cursor:
        make_table(cursor)
        # Who is refused writes nothing, and so keeps nobody waiting.
        if wait_s := _wait_s(cursor, allowed):
            return wait_s
    with _one_at_a_time() as cursor:
        if wait_s := _wait_s(cursor, allowed):
            return wait_s
        now = time.time()
        cursor.execute(_FORGET, [now - WINDOW_S, now + LEEWAY_S])
        cursor.executemany(f"INSERT INTO {TABLE} VALUES (%s, %s)", [[who, now] for who in allowed])
    return 0.0


def succeeded(name: str, address: str) -> None:
    """Forgets all attempts of the name, but only the last one of the address, which people behind a proxy
    share.
    """
    who = _address(address)
    with _one_at_a_time() as cursor:
        make_table(cursor)
        cursor.execute(f"DELETE FROM {TABLE} WHERE who = %s", [_name(name)])
        cursor.execute(_NEWEST, [who, who])


def make_table(cursor: Any) -> None:
    """Makes the table unless it is there."""
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (who TEXT NOT NULL, tried DOUBLE PRECISION NOT NULL)")


@contextmanager
def _one_at_a_time() -> Iterator[Any]:
    """A transaction's cursor. On PostgreSQL, two at once would not see each other's attempts."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield cursor


def _wait_s(cursor: Any, allowed: dict[str, int]) -> float:
    """Seconds until all of them are below what is allowed. allowed: attempts, by who tries."""
    now, longest = time.time(), 0.0
    for who, most in allowed.items():
        cursor.execute(_SINCE, [who, now - WINDOW_S, now + LEEWAY_S, most - 1])
        if found := cursor.fetchone():
            longest = max(longest, found[0] + WINDOW_S - now)
    return longest


def _name(name: str) -> str:
    return _hidden(f"name {name.strip().lower()}")


def _address(address: str) -> str:
    return _hidden(f"address {address}")


def _hidden(who: str) -> str:
    """Of one length, without what no database holds, and nothing to read: people type passwords as names."""
    digest: str = salted_hmac(TABLE, who, algorithm="sha256").hexdigest()
    return digest
