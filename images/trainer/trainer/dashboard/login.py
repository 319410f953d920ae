"""Logs people in with their name and password of Label Studio, which is asked to check them.

A login opens a session at Label Studio. Whoever asked for it hands its cookie to the person's browser, so
that she is logged in there too, or ends it.
"""

import logging
from dataclasses import dataclass

import requests

from labelloop.cookies import CookieNames
from labelloop.errors import Explained
from labelloop.sessions import service_session
from trainer.dashboard.people import ME, NoAnswer, Person, read_person

log = logging.getLogger(__name__)

TIMEOUT_S = (3.0, 20.0)


SILENT = "Label Studio, which knows the passwords, does not answer. See make status."


class LoginError(Explained):
    """Label Studio could not be asked; the message says why. told: the message for the person at the form."""

    def __init__(self, message: str, told: str = SILENT) -> None:
        super().__init__(message)
        self.told = told


class TooManyAttempts(LoginError):
    """For `seconds`, Label Studio accepts no more attempts with this name or from this address."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Label Studio takes the next attempt in {seconds:.0f} s")
        self.seconds = seconds


class NotAMember(LoginError):
    """Name and password are right, but an administrator has removed or deactivated the person."""


@dataclass(frozen=True)
class Login:
    """A person who has just logged in, and her session at Label Studio.

    session: the value of its cookie. expires: when a browser is to drop that, in seconds since 1970; None:
    when it is closed.
    """

    person: Person
    session: str
    expires: int | None = None


def ask_label_studio(
    url: str, email: str, password: str, cookies: CookieNames, keep: bool = False
) -> Login | None:
    """Opens a session at Label Studio for the person with this e-mail address and password; None when Label
    Studio, at `url`, refuses them.

    keep: whether the session outlasts the browser, as Label Studio's own form offers.

    Raises:
        LoginError: Label Studio does not answer, or its answer is not that of its login page.
        TooManyAttempts: it accepts no more attempts for now.
        NotAMember: the person is no active member. The session has been ended.
    """
    with service_session(url) as session:
        try:
            session.get(f"{url}/user/login/", timeout=TIMEOUT_S).raise_for_status()
            form = {
                "email": email,
                "password": password,
                "csrfmiddlewaretoken": session.cookies.get(cookies.csrf, ""),
            }
            if keep:
                form["persist_session"] = "on"
            answer = session.post(f"{url}/user/login/", data=form, timeout=TIMEOUT_S, allow_redirects=False)
            if answer.status_code == requests.codes.ok:  # the form again, with an error message
                return None
            if answer.status_code == requests.codes.too_many_requests:
                raise TooManyAttempts(float(answer.headers["Retry-After"]))
            if answer.status_code != requests.codes.found:
                status = answer.status_code
                raise LoginError(
                    f"POST {url}/user/login/: {status}; see `make logs`",
                    f"Label Studio fails at this login, with {status}. See make logs.",
                )
            person = _member(session.get(f"{url}{ME}", timeout=TIMEOUT_S))
            if person is None:
                session.get(f"{url}/logout", timeout=TIMEOUT_S, allow_redirects=False)
                raise NotAMember("no active member of the organisation")
            cookie = next(c for c in session.cookies if c.name == cookies.session)
            return Login(person, cookie.value or "", cookie.expires)
        except requests.RequestException as error:
            raise LoginError(f"Label Studio does not answer at {url}: {error}") from error
        except (ValueError, KeyError, NoAnswer, StopIteration) as error:
            raise LoginError(f"{url}{ME}: no answer that names a user") from error


def end_session(url: str, cookies: CookieNames, value: str) -> None:
    """Logs the session with this cookie out of Label Studio, for everybody who has the cookie. Where Label
    Studio does not answer, that is logged.
    """
    try:
        with service_session(url) as session:
            cookie = {"Cookie": f"{cookies.session}={value}"}
            session.get(f"{url}/logout", headers=cookie, timeout=TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        log.warning("a session at Label Studio could not be ended: %s", error)


def _member(who: requests.Response) -> Person | None:
    """The person in Label Studio's answer; None when she is no active member.

    Raises:
        ValueError, NoAnswer: the answer names no person.
    """
    return None if who.status_code == requests.codes.forbidden else read_person(who.json())
