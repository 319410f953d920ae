"""Who may come in: whoever Label Studio lets in, with the same name and password."""

import requests

from labelloop.sessions import service_session

TIMEOUT_S = (3.0, 20.0)


class LoginError(RuntimeError):
    """Label Studio could not be asked; the message says why."""


class TooManyAttempts(LoginError):
    """Label Studio takes no more attempts at this name, or from here, for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Label Studio takes the next attempt in {seconds:.0f} s")
        self.seconds = seconds


def ask_label_studio(url: str, email: str, password: str) -> str | None:
    """The user's e-mail address as Label Studio at `url` has it; None when it refuses the two.

    The session that this opens there is closed again.

    Raises:
        LoginError: Label Studio does not answer, or not as its login page does. TooManyAttempts.
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
            if answer.status_code == requests.codes.ok:  # the form again, with what is wrong
                return None
            if answer.status_code == requests.codes.too_many_requests:
                raise TooManyAttempts(float(answer.headers["Retry-After"]))
            if answer.status_code != requests.codes.found:
                raise LoginError(f"POST {url}/user/login/: {answer.status_code}; see `make logs`")
            who = session.get(f"{url}/api/current-user/whoami", timeout=TIMEOUT_S)
            session.get(f"{url}/logout", timeout=TIMEOUT_S, allow_redirects=False)
            return str(who.json()["email"]) if who.ok else None
        except requests.RequestException as error:
            raise LoginError(f"Label Studio does not answer at {url}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LoginError(f"{url}/api/current-user/whoami: no answer that names a user") from error
