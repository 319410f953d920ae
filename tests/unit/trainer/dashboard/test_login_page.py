"""What Label Studio's own login page answers, and what is made of it."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from fastapi.testclient import TestClient
from support.dashboard import EMAIL, PASSWORD, csrf, words
from support.elsewhere import Elsewhere
from support.served import Handler, served

from labelloop.cookies import CookieNames
from trainer.dashboard import login as login_module
from trainer.dashboard.app import create_app
from trainer.dashboard.login import LoginError, NotAMember, ask_label_studio
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import Person

GUESSED = "bob@example.org"
"""Label Studio's login takes no more attempts at this name."""
NAMES = CookieNames()


class LoginPage(Handler):
    """Label Studio's login as seen from outside: form with token, 302 and a session when all is right."""

    who = {"id": 7, "email": EMAIL, "member": True, "administrator": False, "stamp": "s"}

    def do_GET(self) -> None:
        if self.path == "/user/login/":
            self._answer(200, cookie="csrftoken=t0ken")
        elif self.path == "/labelloop/people/me":
            known = "sessionid=s" in (self.headers["Cookie"] or "")
            self._answer(200 if known else 401, json.dumps(self.who).encode() if known else b"{}")
        else:
            self._answer(302)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form["csrfmiddlewaretoken"] != ["t0ken"] or "csrftoken=t0ken" not in self.headers["Cookie"]:
            self._answer(403)
        elif form["email"] == [GUESSED]:
            self._answer(429)
        elif (form["email"], form.get("password")) == ([EMAIL], [PASSWORD]):
            self._answer(302, cookie="sessionid=s")
        else:
            self._answer(200)

    def _answer(self, status: int, body: bytes = b"", cookie: str = "") -> None:
        self.send_response(status)
        if cookie:
            self.send_header("Set-Cookie", f"{cookie}; Path=/")
        if status == 429:
            self.send_header("Retry-After", "42")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def login_page() -> Iterator[str]:
    with served(LoginPage) as url:
        yield url


def test_label_studio_is_asked(login_page: str) -> None:
    person = Person(id=7, email=EMAIL, administrator=False, stamp="s")
    assert ask_label_studio(login_page, EMAIL, PASSWORD, NAMES) == login_module.Login(person, "s")
    assert ask_label_studio(login_page, EMAIL, "wrong", NAMES) is None


def test_label_studio_says_who_is_no_member(login_page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LoginPage.who, "member", False)
    with pytest.raises(NotAMember):
        ask_label_studio(login_page, EMAIL, PASSWORD, NAMES)


def test_label_studios_own_throttle_is_passed_on(loop: WatchedLoop, login_page: str) -> None:
    with TestClient(
        create_app(
            loop,
            "a secret",
            lambda url, email, password, *_: ask_label_studio(login_page, email, password, NAMES),
        )
    ) as client:
        form = {"csrf": csrf(client, "/login"), "email": GUESSED, "password": PASSWORD}
        answer = client.post("/login", data=form)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "42")
    assert "Try again in 42 seconds" in answer.text


def test_without_label_studio_nobody_can_log_in(loop: WatchedLoop) -> None:
    with pytest.raises(LoginError, match=r"does not answer at http://127.0.0.1:9"):
        ask_label_studio("http://127.0.0.1:9", EMAIL, PASSWORD, NAMES)

    def gone(*given: object) -> login_module.Login | None:
        raise LoginError("gone")

    with TestClient(create_app(loop, "a secret", gone)) as client:
        form = {"csrf": csrf(client, "/login"), "email": EMAIL, "password": PASSWORD}
        answer = client.post("/login", data=form)
        assert answer.status_code == 503
        assert "does not answer" in words(answer.text)


@pytest.mark.parametrize("status", [302, 307])
def test_a_login_page_that_leads_elsewhere_is_shown_no_password(status: int) -> None:
    with Elsewhere(status=status) as elsewhere, pytest.raises(LoginError, match="led from"):
        ask_label_studio(elsewhere.url, EMAIL, PASSWORD, NAMES)
    assert elsewhere.sent == []
