"""People of a test's Label Studio: they sign up by invitation and log in, as browsers do."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio

PASSWORD_OF_ALL = "a labeller's own 1"


class Person:
    """A logged-in session at `base`. Paths are Label Studio's; answers are not checked."""

    def __init__(self, base: str, email: str, session: requests.Session) -> None:
        self.base = base
        self.email = email
        self.session = session

    @property
    def id(self) -> int:
        return int(self.get("/api/current-user/whoami").json()["id"])

    @property
    def csrf(self) -> str:
        """What Label Studio's pages send with a form."""
        return next((c.value or "" for c in self.session.cookies if c.name.startswith("csrftoken")), "")

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.ask("GET", path, params=parameters)

    def post(self, path: str, **body: Any) -> requests.Response:
        return self.ask("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> requests.Response:
        return self.ask("PATCH", path, json=body)

    def delete(self, path: str) -> requests.Response:
        return self.ask("DELETE", path)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(
            method, self.base + path, timeout=60, **{"allow_redirects": False, **options}
        )


def log_in(label_studio: LabelStudio, email: str = EMAIL, password: str = PASSWORD) -> Person:
    session = requests.Session()
    form = {"email": email, "password": password}
    _send(session, label_studio.url + "/user/login/", form)
    return Person(label_studio.url, email, session)


def invitation(label_studio: LabelStudio) -> str:
    """The path and query of the link that an administrator hands out."""
    return str(label_studio.studio.request("GET", "/api/invite")["invite_url"])


def sign_up(label_studio: LabelStudio, email: str, link: str | None = None) -> requests.Response:
    """What the sign-up form of an invitation answers."""
    url = label_studio.url + (link or invitation(label_studio))
    return _send(requests.Session(), url, {"email": email, "password": PASSWORD_OF_ALL})


def labeller(label_studio: LabelStudio, email: str) -> Person:
    """Somebody new, who was invited; logged in."""
    answer = sign_up(label_studio, email)
    assert answer.status_code == 302, answer.text[:500]
    return log_in(label_studio, email, PASSWORD_OF_ALL)


def next_tasks(people: Sequence[Person], project: int) -> list[int]:
    """The task that each is given who asks for her next one, all at the same moment."""

    def ask(person: Person) -> int:
        answer = person.post(f"/api/dm/actions?id=next_task&project={project}")
        assert answer.status_code == 200, answer.text[:500]
        return int(answer.json()["id"])

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(ask, people))


def _send(session: requests.Session, url: str, form: dict[str, str]) -> requests.Response:
    page = session.get(url, timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, page.text[:500]
    form = {**form, "csrfmiddlewaretoken": token[1]}
    return session.post(url, form, headers={"Referer": url}, timeout=30, allow_redirects=False)
