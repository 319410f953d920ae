"""Decides who may use the dashboard: active members of Label Studio's organisation, while they are members.

Label Studio is asked whose its session is, or about the person of a session of ours: at the login, whenever
she acts, and every few seconds while she only looks.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests
from pydantic import BaseModel, ConfigDict, ValidationError

from labelloop.cookies import CookieNames
from labelloop.errors import Explained
from labelloop.sessions import service_session
from labelloop.studio import Studio, StudioError

log = logging.getLogger(__name__)

ME = "/labelloop/people/me"
PERSON = "/labelloop/people/{}"

FRESH_S = 5.0
"""How old Label Studio's answer about a person may be while the person only looks at pages."""
GRACE_S = 120.0
"""How old its last answer may be while Label Studio does not answer."""
TIMEOUT_S = (3.0, 5.0)
KEPT = 1000
"""Of so many people and sessions answers are kept; beyond it, those that are too old to count are dropped."""


class NoAnswer(Explained):
    """Label Studio does not say who a person is; the message says why."""


class Person(BaseModel):
    """An active member of Label Studio's organisation. stamp: changes with the password."""

    model_config = ConfigDict(frozen=True)

    id: int
    email: str
    administrator: bool
    stamp: str


class _Answer(Person):
    member: bool


def read_person(answer: object) -> Person | None:
    """The person in Label Studio's answer at ME or PERSON; None when the person is no active member.

    Raises:
        NoAnswer: the answer describes no person.
    """
    try:
        told = _Answer.model_validate(answer)
    except ValidationError as error:
        raise NoAnswer(f"Label Studio tells of no person: {str(answer)[:200]}") from error
    return Person(**told.model_dump(exclude={"member"})) if told.member else None


@dataclass(frozen=True)
class StudioSession:
    """Whoever has this session at Label Studio. value: of its cookie, which goes to Label Studio alone."""

    value: str

    def __repr__(self) -> str:
        """Without the value, which logs must not have."""
        return "StudioSession(…)"


Who = int | StudioSession
"""A person: by her id, or as the one who has a session at Label Studio."""


@dataclass(frozen=True)
class _Known:
    """person: None when it is no active member. asked_at: when Label Studio was asked, by the clock."""

    person: Person | None
    asked_at: float


class People:
    """Asks Label Studio about the people of sessions. Several threads use it.

    studio: with an administrator's token. session_cookie: the name of Label Studio's. fresh_s: see FRESH_S.
    """

    def __init__(
        self,
        studio: Studio,
        clock: Callable[[], float] = time.monotonic,
        session_cookie: str = CookieNames.session,
    ) -> None:
        self.fresh_s = FRESH_S
        self._studio = studio
        self._clock = clock
        self._cookie = session_cookie
        self._lock = threading.Lock()
        self._known: dict[int | str, _Known] = {}
        self._silence: tuple[float, NoAnswer] | None = None

    def ask(self, who: Who) -> Person | None:
        """The person as she is now, for requests that act.

        None when she is no active member, or there is no such user or session.

        Raises:
            NoAnswer: Label Studio does not say.
        """
        asked_at = self._clock()
        try:
            person = self._whose(who) if isinstance(who, StudioSession) else self._somebody(who)
        except NoAnswer as error:
            raise self._not_answered(error) from None
        self._keep(who, _Known(person, asked_at))
        return person

    def _somebody(self, person_id: int) -> Person | None:
        """Raises NoAnswer."""
        try:
            return read_person(self._studio.request("GET", PERSON.format(person_id), timeout=TIMEOUT_S))
        except StudioError as error:
            if error.status != 404:
                raise NoAnswer(str(error)) from error
            return None

    def _whose(self, session: StudioSession) -> Person | None:
        """Asks as the browser would, with that one cookie. The cookies that are answered are dropped with the
        connection, so that no other question takes them along.

        Raises:
            NoAnswer: see there.
        """
        url = f"{self._studio.url}{ME}"
        try:
            with service_session(url) as asked:
                cookie = {"Cookie": f"{self._cookie}={session.value}"}
                answer = asked.get(url, headers=cookie, timeout=TIMEOUT_S, allow_redirects=False)
            if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
                return None
            answer.raise_for_status()
            return read_person(answer.json())
        except (requests.RequestException, ValueError) as error:
            raise NoAnswer(f"GET {url}: {error}") from error

    def lately(self, who: Who) -> Person | None:
        """The person as she was at most `fresh_s` seconds ago, for requests that only look.

        While Label Studio does not answer, up to GRACE_S seconds.

        Raises:
            NoAnswer: Label Studio does not answer, and its last answer is older than GRACE_S.
        """
        known = self._known.get(_key(who))
        if known is not None and self._clock() - known.asked_at <= self.fresh_s:
            return known.person
        try:
            silence = self._silence
            if silence is not None and self._clock() - silence[0] <= self.fresh_s:
                raise silence[1]
            return self.ask(who)
        except NoAnswer:
            if known is None or known.person is None or self._clock() - known.asked_at > GRACE_S:
                raise
            return known.person

    def logged_in(self, who: Who, person: Person) -> None:
        """Keeps Label Studio's answer from a login."""
        self._keep(who, _Known(person, self._clock()))

    def logged_out(self, who: Who) -> None:
        """Lets a session in no more, whatever was known of it."""
        self._keep(who, _Known(None, self._clock()))

    def _keep(self, who: Who, found: _Known) -> None:
        """Keeps an answer, unless the answer to a later question is there already."""
        key = _key(who)
        with self._lock:
            before = self._known.get(key)
            if before is None or before.asked_at <= found.asked_at:
                self._known[key] = found
            if len(self._known) > KEPT:
                self._forget()
            self._silence = None

    def _forget(self) -> None:
        """Drops answers that count no more, so that made-up sessions cannot fill the memory. A refusal counts
        for `fresh_s`, as nobody looks on by it.
        """
        now = self._clock()
        self._known = {
            key: known
            for key, known in self._known.items()
            if now - known.asked_at <= (GRACE_S if known.person else self.fresh_s)
        }

    def _not_answered(self, error: NoAnswer) -> NoAnswer:
        """Keeps the failure, so that not every request waits for Label Studio. Only the first is logged."""
        with self._lock:
            if self._silence is None:
                log.warning("Label Studio does not say who is a member: %s", error)
            self._silence = self._clock(), error
        return error


def _key(who: Who) -> int | str:
    """By what an answer is kept: of a session, a digest of its cookie, which opens nothing."""
    return hashlib.sha256(who.value.encode()).hexdigest() if isinstance(who, StudioSession) else who
