"""Boxes for programs that send images to POST /detect: who may, how often, and the asking."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.responses import JSONResponse

from labelloop.studio import StudioError
from trainer.dashboard.loop import WatchedLoop
from trainer.peers.backend import BackendError, NoImage
from trainer.peers.projects import NoProject, Project, fetch
from trainer.takeaway.tokens import Token, TokenError, Tokens

PER_MINUTE = 120
AT_ONCE = 4
PROJECT_FRESH_S = 30.0

Clock = Callable[[], float]


class Refused(Exception):
    """The answer to a request that gets no boxes. again: the seconds after which it may succeed; None for
    never.
    """

    def __init__(self, status: int, message: str, again: float | None = None) -> None:
        super().__init__(message)
        self.status, self.again = status, again

    def answer(self) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.again is not None:
            headers["Retry-After"] = f"{max(self.again, 1.0):.0f}"
        return JSONResponse({"error": str(self)}, self.status, headers)


class Detection:
    """Who may ask, how often, and the asking. One of it in a process."""

    def __init__(self, loop: WatchedLoop, clock: Clock = time.monotonic) -> None:
        self._loop, self._clock = loop, clock
        self._tokens = Tokens(loop.settings.rounds_dir)
        self._lock = threading.Lock()
        self._asked: dict[str, deque[float]] = {}
        self._projects: dict[int, tuple[float, Project]] = {}
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def admit(self, authorization: str) -> Token:
        """The token that a request's header holds. It counts as asked.

        Raises:
            Refused: 404, there is no token at all; 401, it is none of ours; 429, it asks too often.
        """
        kind, _, given = authorization.partition(" ")
        try:
            if not self._tokens.all():
                raise Refused(
                    404, "POST /detect is off: `make token NAME=…` on the host makes a token for it"
                )
            token = self._tokens.find(given.strip()) if kind.lower() == "bearer" else None
        except TokenError as error:
            raise Refused(503, str(error)) from error
        if token is None:
            raise Refused(401, "send a token that `make token` made, as the header Authorization: Bearer …")
        self._count(token)
        return token

    def _count(self, token: Token) -> None:
        now = self._clock()
        with self._lock:
            times = self._asked.setdefault(token.sha256, deque())
            while times and times[0] <= now - 60.0:
                times.popleft()
            if len(times) >= PER_MINUTE:
                raise Refused(429, f"{token.name} may ask {PER_MINUTE} times a minute", times[0] + 60.0 - now)
            times.append(now)

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of AT_ONCE places, for an image from its first byte to its boxes. Raises Refused: 503, all are
        taken.
        """
        if not self._places.acquire(blocking=False):
            raise Refused(503, f"{AT_ONCE} images are being looked at; send this one again", 1.0)
        try:
            yield
        finally:
            self._places.release()

    def boxes(self, token: Token, image: bytes) -> dict[str, Any]:
        """Raises Refused: 415, it is no image; 503, a service does not answer; 404, the project is gone."""
        try:
            project = self._project(token.project)
            if token.of not in ("", project.uid):
                raise NoProject(f"the project that {token.name} is for is gone; another one has its number")
            return self._loop.backend.detect(project, image)
        except NoImage as error:
            raise Refused(415, str(error)) from error
        except (BackendError, StudioError) as error:
            raise Refused(503, f"the model does not answer: {error}", 10.0) from error
        except NoProject as error:
            raise Refused(404, str(error)) from error

    def _project(self, project_id: int) -> Project:
        """As Label Studio knew it in the last seconds; as it knew it last, while it does not answer."""
        read_at, project = self._projects.get(project_id, (0.0, None))
        if project is None or self._clock() - read_at > PROJECT_FRESH_S:
            try:
                project = fetch(self._loop.studio, project_id)
            except StudioError as error:
                if error.status == 404:
                    raise NoProject(f"there is no project {project_id} any more") from error
                if project is None:
                    raise
            self._projects[project_id] = self._clock(), project
        return project
