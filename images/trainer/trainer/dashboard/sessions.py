"""Begins and ends sessions of our own, for browsers that do not send us Label Studio's cookies.

A session ends SESSION_S after its login, or earlier by a logout or by the end of the membership. Its contents
are in its signed cookie. Label Studio's sessions are its own to end.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from labelloop.files import write_text
from trainer.dashboard.people import Person
from trainer.dashboard.security import SESSION_S

log = logging.getLogger(__name__)

KEPT = 1000
"""So many of the sessions that end last are kept in any case, as the clock may be ahead for a while."""


def begin(session: dict[str, Any], person: Person) -> None:
    """Gives a request's session to `person`, who has just logged in."""
    session.clear()
    session.update(person=person.id, stamp=person.stamp, id=secrets.token_urlsafe(16), since=time.time())


def _is_over(session: dict[str, Any]) -> bool:
    """Whether the login is too long ago. The cookie's age does not show it: each change signs it anew."""
    return "id" in session and time.time() - session.get("since", 0.0) > SESSION_S


class EndedSessions:
    """Ids of sessions that ended early, kept in `path` until they would have ended by themselves.

    A session lasts SESSION_S seconds from its login, so an id can be dropped SESSION_S after its early end,
    but for the newest KEPT.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._until = _read(path)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._until

    def add(self, session_id: object) -> None:
        """Ends a session. None, the id of a person who was not logged in, is ignored."""
        if not isinstance(session_id, str):
            return
        now = self._clock()
        with self._lock:
            last = sorted(self._until.items(), key=lambda row: row[1], reverse=True)
            left = {known: until for place, (known, until) in enumerate(last) if until > now or place < KEPT}
            self._until = {**left, session_id: now + SESSION_S}
            write_text(self._path, json.dumps(self._until) + "\n")


class WithoutEndedSessions:
    """ASGI middleware below starlette's SessionMiddleware that empties sessions that have ended."""

    def __init__(self, app: ASGIApp, ended: EndedSessions) -> None:
        self._app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            session = scope["session"]
            if session.get("id") in self._ended or _is_over(session):
                session.clear()
        await self._app(scope, receive, send)


def _read(path: Path) -> dict[str, float]:
    """By session id, when it may be dropped. Empty when the file is damaged, which is logged."""
    try:
        return {str(known): float(until) for known, until in json.loads(path.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("%s cannot be read, so sessions that logged out live on: %s", path, error)
        return {}
