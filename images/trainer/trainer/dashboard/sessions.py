"""Sessions that were ended before their time. The rest of a session is in its signed cookie."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from labelloop.files import write_text
from trainer.dashboard.security import SESSION_S

log = logging.getLogger(__name__)


def new_session_id() -> str:
    return secrets.token_urlsafe(16)


class EndedSessions:
    """Ids of sessions that logged out, kept in `path` until their cookies would have ended by themselves.

    A cookie is not renewed after the login, so that is SESSION_S seconds after the logout at the latest.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._until = _read(path)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._until

    def add(self, session_id: object) -> None:
        """Ends a session; None, of somebody who wasn't logged in, is none."""
        if not isinstance(session_id, str):
            return
        now = self._clock()
        with self._lock:
            left = {known: until for known, until in self._until.items() if until > now}
            self._until = {**left, session_id: now + SESSION_S}
            write_text(self._path, json.dumps(self._until) + "\n")


class WithoutEndedSessions:
    """ASGI middleware below starlette's SessionMiddleware: an ended session is an empty one."""

    def __init__(self, app: ASGIApp, ended: EndedSessions) -> None:
        self._app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["session"].get("id") in self._ended:
            scope["session"].clear()
        await self._app(scope, receive, send)


def _read(path: Path) -> dict[str, float]:
    """Session ids to when they may be forgotten; none of them when the file is damaged, which is logged."""
    try:
        return {str(known): float(until) for known, until in json.loads(path.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("%s cannot be read, so sessions that logged out live on: %s", path, error)
        return {}
