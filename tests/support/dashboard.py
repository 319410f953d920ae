"""A browser without scripts, for tests of the dashboard's pages, and the people who sit before it."""

import re
import time

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route
from support.fake_studio import FakeStudio

from labelloop.cookies import CookieNames
from trainer.dashboard import login
from trainer.dashboard.people import read_person

EMAIL, PASSWORD = "ann@example.org", "correct horse 1"
LABELLER = "bea@example.org"


class Login:
    """Label Studio's login page: it takes PASSWORD for each person of `studio`, at first Ann, an
    administrator, and Bea, who labels, and opens a session there.
    """

    def __init__(self, studio: FakeStudio) -> None:
        self._studio = studio
        studio.add_person(1, EMAIL, administrator=True)
        studio.add_person(2, LABELLER)

    def __call__(
        self, url: str, email: str, password: str, cookies: CookieNames, keep: bool = False
    ) -> login.Login | None:
        found = next((row for row in self._studio.people.values() if row["email"] == email), None)
        if found is None or password != PASSWORD:
            return None
        person = read_person(found)
        if person is None:
            raise login.NotAMember("no active member of the organisation")
        expires = int(time.time()) + 5 * 24 * 3600 if keep else None
        return login.Login(person, self._studio.open_session(person.id), expires)


def cookie_names(client: TestClient) -> CookieNames:
    """Of the stack that a browser is at."""
    names: CookieNames = client.app.state.parts.cookies  # type: ignore[attr-defined]
    return names


def csrf(client: TestClient, path: str) -> str:
    """The token in the forms of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found, f"{path} has no form"
    return found[1]


def log_in(client: TestClient, password: str = PASSWORD, to: str = "/", email: str = EMAIL) -> int:
    """The status of the answer."""
    form = {"csrf": csrf(client, "/login"), "email": email, "password": password, "next": to}
    return client.post("/login", data=form).status_code


def press(client: TestClient, button: str, project: int = 1, **fields: str) -> str:
    """Confirms a button; the text of the page that follows."""
    form = {"csrf": csrf(client, f"/do/{button}?project={project}"), **fields}
    answer = client.post(f"/do/{button}?project={project}", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/?project={project}")
    return words(client.get(answer.headers["Location"]).text)


def words(html: str) -> str:
    """What a page says, without its tags, with single blanks."""
    html = re.sub(r'<a class="term"[^>]*>(.*?)</a>|<time[^>]*>(.*?)</time>', r"\1\2", html)
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of every route, of the parts too, and of each mount."""
    found, waiting = set(), list(app.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):  # FastAPI's, of a part
            waiting += route.original_router.routes
        elif isinstance(route, Mount):
            found.add(("GET", f"{route.path}/{{path}}"))
        elif isinstance(route, Route):
            found |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
        else:
            raise AssertionError(f"what is {route!r}?")
    paths = app.openapi()["paths"].items()
    assert {(method.upper(), path) for path, methods in paths for method in methods} <= found
    return found
