"""Decides who may use the dashboard: active members of Label Studio's organisation, while they are members.

Label Studio is asked at the login, whenever a person acts, and every few seconds while a person only looks.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from labelloop.errors import Explained
from labelloop.studio import Studio, StudioError

log = logging.getLogger(__name__)

ME = "/labelloop/people/me"
PERSON = "/labelloop/people/{}"

FRESH_S = 5.0
"""How old Label Studio's answer about a person may be while the person only looks at pages."""
GRACE_S = 120.0
"""How old its last answer may be while Label Studio does not answer."""
TIMEOUT_S = (3.0, 5.0)


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
class _Known:
    """person: None when it is no active member. asked_at: when Label Studio was asked, by the clock."""

    person: Person | None
    asked_at: float


class People:
    """Asks Label Studio about the people of sessions. Several threads use it.

    studio: with an administrator's token. fresh_s: see FRESH_S.
    """

    def __init__(self, studio: Studio, clock: Callable[[], float] = time.monotonic) -> None:
        self.fresh_s = FRESH_S
        self._studio = studio
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, _Known] = {}
        self._silence: tuple[float, NoAnswer] | None = None

    def ask(self, person_id: int) -> Person | None:
        """The person as she is now, for requests that act.

        None when she is no active member, or there is no such user.

        Raises:
            NoAnswer: Label Studio does not say.
        """
        asked_at = self._clock()
        try:
            answer = self._studio.request("GET", PERSON.format(person_id), timeout=TIMEOUT_S)
            person = read_person(answer)
        except StudioError as error:
            if error.status != 404:
                raise self._not_answered(NoAnswer(str(error))) from error
            person = None
        except NoAnswer as error:
            raise self._not_answered(error) from None
        self._keep(person_id, _Known(person, asked_at))
        return person

    def lately(self, person_id: int) -> Person | None:
        """The person as she was at most `fresh_s` seconds ago, for requests that only look.

        While Label Studio does not answer, up to GRACE_S seconds.

        Raises:
            NoAnswer: Label Studio does not answer, and its last answer is older than GRACE_S.
        """
        known = self._known.get(person_id)
        if known is not None and self._clock() - known.asked_at <= self.fresh_s:
            return known.person
        try:
            silence = self._silence
            if silence is not None and self._clock() - silence[0] <= self.fresh_s:
                raise silence[1]
            return self.ask(person_id)
        except NoAnswer:
            if known is None or known.person is None or self._clock() - known.asked_at > GRACE_S:
                raise
            return known.person

    def logged_in(self, person: Person) -> None:
        """Keeps Label Studio's answer from a login."""
        self._keep(person.id, _Known(person, self._clock()))

    def _keep(self, person_id: int, found: _Known) -> None:
        """Keeps an answer, unless the answer to a later question is there already."""
        with self._lock:
            before = self._known.get(person_id)
            if before is None or before.asked_at <= found.asked_at:
                self._known[person_id] = found
            self._silence = None

    def _not_answered(self, error: NoAnswer) -> NoAnswer:
        """Keeps the failure, so that not every request waits for Label Studio. Only the first is logged."""
        with self._lock:
            if self._silence is None:
                log.warning("Label Studio does not say who is a member: %s", error)
            self._silence = self._clock(), error
        return error
