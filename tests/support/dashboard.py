"""A browser without scripts, for tests of the dashboard's pages."""

import re

from fastapi.testclient import TestClient

EMAIL, PASSWORD = "ann@example.org", "correct horse 1"


def ask_who(url: str, email: str, password: str) -> str | None:
    """Label Studio's part: it knows Ann alone."""
    return email if (email, password) == (EMAIL, PASSWORD) else None


def csrf(client: TestClient, path: str) -> str:
    """The token in the forms of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found, f"{path} has no form"
    return found[1]


def log_in(client: TestClient, password: str = PASSWORD, to: str = "/") -> int:
    """The status of the answer."""
    form = {"csrf": csrf(client, "/login"), "email": EMAIL, "password": password, "next": to}
    return client.post("/login", data=form).status_code


def press(client: TestClient, button: str, project: int = 1, **fields: str) -> str:
    """Confirms a button; the text of the page that follows."""
    form = {"csrf": csrf(client, f"/do/{button}?project={project}"), **fields}
    answer = client.post(f"/do/{button}?project={project}", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/?project={project}")
    return words(client.get(answer.headers["Location"]).text)


def words(html: str) -> str:
    """What a page says, without its tags, with single blanks."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())
