"""The stack's services for a simulation, asked again where they give no answer.

A starved Label Studio breaks a connection off now and then. A person would press the button again; a run of
hours should not end for it. What is safe to repeat is repeated here. An annotation and a page of crops are
not: see `LabellingProject.submit` and `VerifyPage.answer`.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend, BackendDown, Row
from trainer.simulate.errors import NoAnswer

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Before each further attempt. Together they are two minutes: longer than Label Studio takes to start."""

T = TypeVar("T")
Say = Callable[[str], None]


def unanswered(error: Exception) -> bool:
    """Whether a service has not answered a request, or could not do what was asked. Nobody knows then whether
    it was done.

    >>> unanswered(StudioError("Connection aborted")), unanswered(StudioError("locked", 500))
    (True, True)
    >>> unanswered(StudioError("no such task", 404))
    False
    """
    if isinstance(error, StudioError):
        return error.status == 0 or error.status >= 500
    return isinstance(error, BackendDown | NoAnswer)


def patiently(attempt: Callable[[], T], say: Say, pauses_s: Sequence[float] = PAUSES_S) -> T:
    """What `attempt` returns. As long as it is unanswered it is made again, after each pause, which is said.

    Raises:
        Whatever the last attempt raises, and at once what is an answer.
    """
    for pause_s in pauses_s:
        try:
            return attempt()
        except (StudioError, BackendDown, NoAnswer) as error:
            if not unanswered(error):
                raise
            say(f"{error}; asked again in {pause_s:.0f} s")
            time.sleep(pause_s)
    return attempt()


class PatientStudio(Studio):
    """Label Studio, where all but a POST is repeated: what a GET, PATCH or DELETE does, it does once."""

    def __init__(self, url: str, token: str, say: Say) -> None:
        super().__init__(url, token)
        self.say = say

    @classmethod
    def of(cls, settings: TrainerSettings, say: Say) -> "PatientStudio":
        """Label Studio that the settings name. Raises MissingSecret."""
        return cls(settings.labelstudio_url, settings.secret("api_token"), say)

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """See `Studio.request`. What is deleted already, as by an attempt without an answer, is no error."""
        attempt = partial(super().request, method, path, **kwargs)
        if method == "POST":
            return attempt()
        try:
            return patiently(attempt, self.say)
        except StudioError as error:
            if method == "DELETE" and error.status == 404:
                return None
            raise


class PatientBackend(Backend):
    """The ML backend, which changes nothing when it is asked for boxes."""

    def __init__(self, url: str, password: str, say: Say) -> None:
        super().__init__(url, password)
        self._say = say

    @classmethod
    def of(cls, settings: TrainerSettings, say: Say) -> "PatientBackend":
        """The backend that the settings name. Raises MissingSecret."""
        return cls(settings.mlbackend_url, settings.secret("backend_password"), say)

    def results(self, path: str, body: Row, count: int) -> list[Row]:
        return patiently(partial(super().results, path, body, count), self._say)
