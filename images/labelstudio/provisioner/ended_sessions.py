"""Sessions end at the logout, for everybody who has their cookie.

Label Studio keeps a session in its signed cookie alone. So at a logout it could only ask the browser to
forget the cookie: a copy, or an answer that was under way meanwhile, would log in again for two weeks. The
dashboard, which lets in whoever has a session here, rests on this too.

A clock that is ahead for a while changes nothing of that. What began in the future counts as ended, since
Django would take its cookie until that time is over; and the newest names are kept whatever the clock says.
"""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest, HttpResponse

from labelloop.clocks import LEEWAY_S

TABLE = "labelloop_ended_sessions"
_NOTE = f"INSERT INTO {TABLE} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET until = excluded.until"
KEPT = 10_000
"""So many of the names that end last are kept in any case."""
BEGAN = "last_login"
"""Where Label Studio notes in a session when it began, in seconds since 1970."""
_FORGET = (
    f"DELETE FROM {TABLE} WHERE until < %s AND name NOT IN "
    f"(SELECT name FROM {TABLE} ORDER BY until DESC LIMIT %s)"
)
NAME = "uid"
"""Where Label Studio gives each session a name of its own, from its first request on."""

View = Callable[..., HttpResponse]


class WithoutEndedSessions:
    """Django middleware behind that of the sessions: makes a stranger of whoever comes with an ended one."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        session = request.session
        if SESSION_KEY in session and (_is_ahead(session.get(BEGAN)) or _has_ended(session.get(NAME))):
            session.flush()
        return self._get_response(request)


def note() -> None:
    """Has every logout noted, whichever page it is at."""
    user_logged_out.connect(_end)


def _end(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    name = request.session.get(NAME)
    if user is None or not isinstance(name, str):
        return
    from django.db import connection

    now = time.time()
    with connection.cursor() as cursor:
        make_table(cursor)
        cursor.execute(_FORGET, [now, KEPT])
        # Django reads no cookie that was signed longer ago.
        cursor.execute(_NOTE, [name, now + settings.SESSION_COOKIE_AGE])


def _is_ahead(began: object) -> bool:
    return isinstance(began, int | float) and began > time.time() + LEEWAY_S


def _has_ended(name: object) -> bool:
    from django.db import connection

    with connection.cursor() as cursor:
        make_table(cursor)
        cursor.execute(f"SELECT 1 FROM {TABLE} WHERE name = %s", [name])
        return cursor.fetchone() is not None


def make_table(cursor: Any) -> None:
    """Makes the table unless it is there."""
    # To PostgreSQL, REAL would be four bytes, which tell the time of today within two minutes.
    cursor.execute(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (name TEXT PRIMARY KEY, until DOUBLE PRECISION NOT NULL)"
    )
