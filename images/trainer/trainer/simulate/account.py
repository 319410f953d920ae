"""The simulated person's own account in Label Studio, with which she labels and logs in to the dashboard.

She is invited and signs up as a labeller does, with a password that is made for the run and kept in memory
alone. So a simulation needs nobody's password, and may do on the dashboard what any labeller may.

While a run lives it holds a lock under its account's name. An account without such a run was left by one that
was killed, and goes with the next.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from labelloop import locks
from labelloop.cookies import CookieNames
from labelloop.sessions import service_session
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.simulate.errors import SimulationError
from trainer.simulate.patience import PatientStudio
from trainer.simulate.signals import uninterrupted

NAME = "simulated"
HOST = "labelloop.invalid"
MADE_UP = re.compile(rf"{NAME}\.[0-9a-f]{{12}}@{re.escape(HOST)}")
"""An address of ours. Nobody else has one: no host's name ends in .invalid."""
TIMEOUT_S = (3.0, 30.0)


@dataclass(frozen=True)
class Account:
    """studio: Label Studio as she may use it."""

    id: int
    email: str
    password: str = field(repr=False)
    studio: Studio = field(repr=False)


@contextmanager
def signed_up(studio: Studio, settings: TrainerSettings, say: Callable[[str], None]) -> Iterator[Account]:
    """A new labeller, who is deleted in the end. studio: with an administrator's token.

    Those whom killed runs have left are deleted first, which `say` tells.

    Raises:
        SimulationError: she cannot sign up. StudioError: Label Studio does not answer.
    """
    _delete_left(studio, settings.rounds_dir, say)
    email, password = f"{NAME}.{secrets.token_hex(6)}@{HOST}", secrets.token_urlsafe(24)
    lock = _lock(settings.rounds_dir, email)
    link = urlsplit(str(studio.request("GET", "/api/invite")["invite_url"]))
    with locks.holding(lock):
        try:
            token = _sign_up(
                studio.url, f"{link.path}?{link.query}", email, password, CookieNames.of(settings)
            )
            hers = PatientStudio(studio.url, token, say)
            number = int(hers.request("GET", "/labelloop/people/me")["id"])
            yield Account(number, email, password, hers)
        finally:
            with uninterrupted():
                for person in _simulated(studio):
                    if person["email"] == email:
                        studio.request("DELETE", f"/api/users/{person['id']}/")
                lock.unlink(missing_ok=True)


def _delete_left(studio: Studio, folder: Path, say: Callable[[str], None]) -> None:
    """Deletes the accounts of runs that are no more. A run that lives keeps hers."""
    for person in _simulated(studio):
        lock = _lock(folder, person["email"])
        with suppress(FileNotFoundError):
            if locks.is_held(lock):
                continue
        say(f"Deleting {person['email']}, the account of a run that was killed.")
        studio.request("DELETE", f"/api/users/{person['id']}/")
        lock.unlink(missing_ok=True)


def _simulated(studio: Studio) -> list[dict[str, Any]]:
    """The users of Label Studio whose address this module made up."""
    users = studio.request("GET", "/api/users/")
    return [user for user in users if MADE_UP.fullmatch(user.get("email") or "")]


def _lock(folder: Path, email: str) -> Path:
    return folder / f"{email.partition('@')[0]}.lock"


def _sign_up(url: str, link: str, email: str, password: str, cookies: CookieNames) -> str:
    """Fills in the form of an invitation. Returns: her token for Label Studio's API."""
    try:
        with service_session(url) as session:
            session.get(f"{url}{link}", timeout=TIMEOUT_S).raise_for_status()
            form = {
                "email": email,
                "password": password,
                "csrfmiddlewaretoken": session.cookies.get(cookies.csrf, ""),
            }
            headers = {"Referer": f"{url}{link}"}
            answer = session.post(
                f"{url}{link}", data=form, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
            if answer.status_code != requests.codes.found:
                raise SimulationError(
                    f"the simulated person cannot sign up in Label Studio ({answer.status_code}); "
                    "VERIFY=0 does without an account of hers"
                )
            told = session.get(f"{url}/api/current-user/token", timeout=TIMEOUT_S)
            told.raise_for_status()
            session.get(f"{url}/logout", timeout=TIMEOUT_S, allow_redirects=False)
            return str(told.json()["token"])
    except (requests.RequestException, ValueError, KeyError) as error:
        # The link holds the invitation's token, so the error's own words are not repeated.
        raise SimulationError(
            f"the simulated person cannot sign up in Label Studio at {url}: {type(error).__name__}; "
            "VERIFY=0 does without an account of hers"
        ) from None
