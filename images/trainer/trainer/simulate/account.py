"""The simulated person's own account in Label Studio, with which she labels and logs in to the dashboard.

She is invited and signs up as a labeller does, with a password that is made for the run and kept in memory
alone. So a simulation needs nobody's password, and may do on the dashboard what any labeller may.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from labelloop.cookies import CookieNames
from labelloop.sessions import service_session
from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.simulate.errors import SimulationError
from trainer.simulate.signals import uninterrupted

NAME = "simulated"
HOST = "labelloop.invalid"
TIMEOUT_S = (3.0, 30.0)


@dataclass(frozen=True)
class Account:
    """studio: Label Studio as she may use it."""

    id: int
    email: str
    password: str = field(repr=False)
    studio: Studio = field(repr=False)


@contextmanager
def signed_up(studio: Studio, settings: Settings) -> Iterator[Account]:
    """A new labeller, who is deleted in the end. studio: with an administrator's token.

    Raises:
        SimulationError: she cannot sign up. StudioError: Label Studio does not answer.
    """
    email, password = f"{NAME}.{secrets.token_hex(6)}@{HOST}", secrets.token_urlsafe(24)
    link = urlsplit(str(studio.request("GET", "/api/invite")["invite_url"]))
    token = _sign_up(studio.url, f"{link.path}?{link.query}", email, password, CookieNames.of(settings))
    hers = Studio(studio.url, token)
    account = Account(int(hers.request("GET", "/labelloop/people/me")["id"]), email, password, hers)
    try:
        yield account
    finally:
        with uninterrupted():
            studio.request("DELETE", f"/api/users/{account.id}/")


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
