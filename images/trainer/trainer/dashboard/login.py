"""Logs people in with their name and password of Label Studio, which is asked to check them."""

import requests

from labelloop.errors import Explained
from labelloop.sessions import service_session
from trainer.dashboard.people import ME, NoAnswer, Person, read_person

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


def ask_label_studio(url: str, email: str, password: str) -> Person | None:
    """The person with this e-mail address and password, by Label Studio at `url`; None when it refuses them.

    The session that the login opens at Label Studio is closed again.

    Raises:
        LoginError: Label Studio does not answer, or its answer is not that of its login page.
        TooManyAttempts: it accepts no more attempts for now.
        NotAMember: the person is no active member.
    """
    with service_session(url) as session:
        try:
            session.get(f"{url}/user/login/", timeout=TIMEOUT_S).raise_for_status()
            form = {
                "email": email,
                "password": password,
                "csrfmiddlewaretoken": session.cookies.get("csrftoken", ""),
            }
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
            who = session.get(f"{url}{ME}", timeout=TIMEOUT_S)
            session.get(f"{url}/logout", timeout=TIMEOUT_S, allow_redirects=False)
            return _member(who)
        except requests.RequestException as error:
            raise LoginError(f"Label Studio does not answer at {url}: {error}") from error
        except (ValueError, KeyError, NoAnswer) as error:
            raise LoginError(f"{url}{ME}: no answer that names a user") from error


def _member(who: requests.Response) -> Person:
    """The person in Label Studio's answer.

    Raises:
        NotAMember: the person is no active member. ValueError, NoAnswer: the answer names no person.
    """
    person = None if who.status_code == requests.codes.forbidden else read_person(who.json())
    if person is None:
        raise NotAMember("no active member of the organisation")
    return person
