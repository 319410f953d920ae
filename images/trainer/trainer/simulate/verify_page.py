"""The dashboard's page Verify before a person who logs in there, through the routes that browsers use."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import requests

from labelloop.boxes import Floats
from labelloop.sessions import service_session
from trainer.env import TrainerSettings
from trainer.simulate.account import Account
from trainer.simulate.errors import NoAnswer, SimulationError
from trainer.simulate.patience import Say, patiently

TIMEOUT_S = (3.0, 60.0)
# A service that listens on all addresses is asked at the machine's own.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True)
class Crop:
    """place: on the page, from 1. xyxy: (4,), the box in pixels."""

    place: int
    task: int
    xyxy: Floats


@dataclass(frozen=True)
class Shown:
    """What is before her. id: of the page; None without crops. ready: how many crops of one label there are
    at most, those before her among them. looking: whether images are being read.
    """

    id: str | None
    label: str
    crops: Sequence[Crop]
    ready: int
    looking: bool
    csrf: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """From /verify.json."""
        crops = [
            Crop(int(row["number"]), int(row["task"]), np.array(row["xyxy"], dtype=np.float32))
            for row in told["crops"]
        ]
        ready = max(told["labels"].values(), default=0)
        label, looking = str(told["label"] or ""), bool(told["looking"])
        return cls(told["page"], label, crops, int(ready), looking, str(told["csrf"]))


class VerifyPage:
    """One project's page. session: hers, with the dashboard at `url`. say: is told what is asked again."""

    def __init__(self, session: requests.Session, url: str, project: int, say: Say) -> None:
        self._session, self._url, self._project, self._say = session, url, project, say

    def look(self) -> Shown:
        """What is before her now. Raises SimulationError: the dashboard refuses, or does not answer."""
        answer = self._ask("GET", "/verify.json", requests.codes.ok, params={"project": self._project})
        return Shown.of(answer.json())

    def answer(self, shown: Shown, wrong: Sequence[Crop], seconds: float) -> None:
        """Says "all right but these". seconds: that she looked at the page.

        It may be sent twice, since the dashboard takes no page a second time.

        Raises:
            SimulationError: the dashboard refuses, or does not answer.
        """
        form = {"csrf": shown.csrf, "page": shown.id or "", "seconds": f"{seconds:.3f}"}
        form |= {f"wrong-{crop.place}": "1" for crop in wrong}
        query = {"project": self._project, "label": shown.label}
        self._ask("POST", "/verify", requests.codes.see_other, params=query, data=form)

    def _ask(self, method: str, path: str, expected: int, **request: Any) -> requests.Response:
        ask = partial(_asked, self._session, method, f"{self._url}{path}", expected, **request)
        return patiently(ask, self._say)


@contextmanager
def logged_in(settings: TrainerSettings, account: Account, project: int, say: Say) -> Iterator[VerifyPage]:
    """The page before her, who logs in by the dashboard's form, and out in the end. say: as for VerifyPage.

    Raises:
        SimulationError: the dashboard refuses, or does not answer.
    """
    host, port = settings.dashboard_address
    url = f"http://{_EVERYWHERE.get(host, host)}:{port}"
    with service_session(url) as session:
        form = {"email": account.email, "password": account.password, "next": "/"}
        patiently(partial(_log_in, session, url, form), say)
        page = VerifyPage(session, url, project, say)
        try:
            yield page
        finally:
            _log_out(session, url, page)


def _log_in(session: requests.Session, url: str, form: dict[str, str]) -> None:
    csrf = _csrf(_asked(session, "GET", f"{url}/login", requests.codes.ok))
    _asked(session, "POST", f"{url}/login", requests.codes.see_other, data=form | {"csrf": csrf})


def _log_out(session: requests.Session, url: str, page: VerifyPage) -> None:
    """Where that fails, her session ends with her account."""
    try:
        _asked(session, "POST", f"{url}/logout", requests.codes.see_other, data={"csrf": page.look().csrf})
    except SimulationError:
        return


def _csrf(answer: requests.Response) -> str:
    found = _CSRF.search(answer.text)
    return found[1] if found else ""


def _asked(
    session: requests.Session, method: str, url: str, expected: int, **request: Any
) -> requests.Response:
    try:
        answer = session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **request)
    except requests.RequestException as error:
        raise NoAnswer(f"{method} {url}: the dashboard does not answer: {error}") from error
    if answer.status_code != expected:
        raise (NoAnswer if answer.status_code >= 500 else SimulationError)(
            f"{method} {url}: the dashboard answers {answer.status_code}, not {expected}, to the simulated "
            "person; see `make logs`. VERIFY=0 does without the page Verify"
        )
    return answer
