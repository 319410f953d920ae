"""Who may come in: whoever Label Studio lets in, with the same name and password."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

import requests

TIMEOUT_S = (3.0, 20.0)
WINDOW_S = 60.0
PER_USER, PER_ADDRESS = 5, 20


class LoginError(RuntimeError):
    """Label Studio could not be asked; the message says why."""


def ask_label_studio(url: str, email: str, password: str) -> str | None:
    """The user's e-mail address as Label Studio at `url` has it; None when it refuses the two.

    The session that this opens there is closed again.

    Raises:
        LoginError: Label Studio does not answer, or not as its login page does.
    """
    with requests.Session() as session:
        session.trust_env = False
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
            if answer.status_code != requests.codes.found:
                raise LoginError(f"POST {url}/user/login/: {answer.status_code}; see `make logs`")
            who = session.get(f"{url}/api/current-user/whoami", timeout=TIMEOUT_S)
            session.get(f"{url}/logout", timeout=TIMEOUT_S, allow_redirects=False)
            return str(who.json()["email"]) if who.ok else None
        except requests.RequestException as error:
            raise LoginError(f"Label Studio does not answer at {url}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LoginError(f"{url}/api/current-user/whoami: no answer that names a user") from error


class Throttle:
    """Attempts to log in: at most PER_USER a name and PER_ADDRESS an address within WINDOW_S seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def attempt(self, user: str, address: str) -> float:
        """Counts an attempt that is allowed and returns 0.0, or the seconds until one will be."""
        keys = {("user", user.lower()): PER_USER, ("address", address): PER_ADDRESS}
        with self._lock:
            self._forget()
            wait_s = max(self._wait_s(key, allowed) for key, allowed in keys.items())
            if wait_s == 0.0:
                for key in keys:
                    self._attempts[key].append(self._clock())
            return wait_s

    def succeeded(self, user: str) -> None:
        with self._lock:
            self._attempts.pop(("user", user.lower()), None)

    def _wait_s(self, key: tuple[str, str], allowed: int) -> float:
        times = self._attempts.get(key, ())
        return times[-allowed] + WINDOW_S - self._clock() if len(times) >= allowed else 0.0

    def _forget(self) -> None:
        """Drops what no longer counts, so that a guesser cannot fill the memory."""
        oldest = self._clock() - WINDOW_S
        for key, times in list(self._attempts.items()):
            while times and times[0] <= oldest:
                times.popleft()
            if not times:
                del self._attempts[key]
