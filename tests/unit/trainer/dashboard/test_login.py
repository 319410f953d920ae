"""Who gets in, and what a stranger and a forged form get."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from itsdangerous import TimestampSigner
from support.dashboard import EMAIL, PASSWORD, Login, csrf, log_in, press, words
from support.elsewhere import Elsewhere
from support.fake_studio import FakeStudio
from support.served import Handler, served

from labelloop.throttle import WINDOW_S, Throttle
from trainer.dashboard.app import create_app
from trainer.dashboard.login import LoginError, NotAMember, ask_label_studio
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import FRESH_S, GRACE_S, Person
from trainer.dashboard.security import SESSION_S, local_path
from trainer.dashboard.sessions import EndedSessions

GUESSED = "bob@example.org"
"""Label Studio's login takes no more attempts at this name."""
PAGES = ("/", "/live", "/rounds/1/loss.svg", "/do/retrain")


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_sees_nothing(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code in (303, 401)
    assert "v0000" not in answer.text


def test_a_stranger_is_led_to_the_login_and_back(stranger: TestClient) -> None:
    answer = stranger.get("/do/retrain?project=1")
    assert answer.headers["Location"] == "/login?next=/do/retrain%3Fproject%3D1"
    page = stranger.get(answer.headers["Location"]).text
    assert 'name="next" value="/do/retrain?project=1"' in page


def test_what_an_open_page_fetches_again_and_again_is_refused_without_a_login_page(
    stranger: TestClient,
) -> None:
    """Which would take the place of the page's part."""
    for path in ("/live", "/model/look?project=1"):
        assert stranger.get(path).status_code == 401


def test_a_strangers_button_does_nothing(stranger: TestClient, loop: WatchedLoop) -> None:
    form = {"csrf": csrf(stranger, "/login")}
    assert stranger.post("/do/retrain", data=form).status_code == 401
    assert loop.rounds.open_rounds() == []


def test_the_right_password_opens_and_logging_out_closes(client: TestClient) -> None:
    assert EMAIL in client.get("/").text
    assert client.post("/logout", data={"csrf": csrf(client, "/")}).headers["Location"] == "/login"
    assert client.get("/").status_code == 303


REFUSED = [{"member": False}, {"stamp": "another password"}, None]
"""What becomes of a person at Label Studio: removed or deactivated; with a new password; deleted."""


@pytest.mark.parametrize("change", REFUSED)
def test_a_session_ends_within_seconds_of_its_persons_removal(
    client: TestClient, app: FastAPI, fake_studio: FakeStudio, change: dict[str, object] | None
) -> None:
    """That is five: an open page asks every two. A copy of the cookie does not outlive it, nor come back."""
    assert client.get("/live").status_code == 200
    kept = {"Cookie": f"labelloop_dashboard={client.cookies['labelloop_dashboard']}"}
    before = dict(fake_studio.people[1])
    if change is None:
        del fake_studio.people[1]
    else:
        fake_studio.people[1] |= change
    assert client.get("/live").status_code == 200, "an answer counts for seconds"
    pass_time(app, FRESH_S + 0.1)
    assert client.get("/live").status_code == 401
    assert client.get("/").headers["Location"] == "/login?next=/"
    assert "Log in" in client.get("/login").text
    fake_studio.people[1] = before
    thief = TestClient(app, follow_redirects=False)
    assert thief.get("/", headers=kept).status_code == 303, "who comes back logs in anew"
    assert log_in(client) == 303 and client.get("/").status_code == 200


def test_who_was_removed_cannot_log_in_until_she_is_a_member_again(
    stranger: TestClient, fake_studio: FakeStudio
) -> None:
    fake_studio.people[1]["member"] = False
    form = {"csrf": csrf(stranger, "/login"), "email": EMAIL, "password": PASSWORD}
    answer = stranger.post("/login", data=form)
    assert answer.status_code == 403
    assert "You are no active member of this Label Studio." in words(answer.text)
    assert stranger.get("/").status_code == 303
    fake_studio.people[1]["member"] = True
    assert log_in(stranger) == 303 and stranger.get("/").status_code == 200


def test_a_removed_persons_attempts_are_counted(stranger: TestClient, fake_studio: FakeStudio) -> None:
    fake_studio.people[1]["member"] = False
    assert [log_in(stranger) for _ in range(6)] == [403] * 5 + [429]


def test_a_session_from_before_membership_was_asked_for_is_none(stranger: TestClient) -> None:
    held = {"user": EMAIL, "id": "x" * 22, "since": time.time(), "csrf": "y" * 32}
    signed = TimestampSigner("a secret").sign(base64.b64encode(json.dumps(held).encode())).decode()
    stranger.cookies.set("labelloop_dashboard", signed, domain="testserver.local", path="/")
    assert stranger.post("/do/retrain", data={"csrf": "y" * 32}).status_code == 401
    stranger.cookies.set("labelloop_dashboard", signed, domain="testserver.local", path="/")
    assert stranger.get("/").status_code == 303
    assert log_in(stranger) == 303 and stranger.get("/").status_code == 200


def test_while_label_studio_is_silent_pages_are_shown_for_a_while_and_the_session_outlasts_it(
    client: TestClient, app: FastAPI, fake_studio: FakeStudio
) -> None:
    fake_studio.down = True
    pass_time(app, GRACE_S - 1)
    assert client.get("/").status_code == 200
    pass_time(app, 2)
    for path in ("/", "/live", "/rounds"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "Label Studio, which says who may come in, does not answer." in words(answer.text)
    assert client.get("/login").status_code == 303, "she is not logged out"
    fake_studio.down = False
    pass_time(app, FRESH_S + 0.1)
    assert client.get("/").status_code == 200


def pass_time(app: FastAPI, seconds: float) -> None:
    """For what is known of people."""
    people, clock = app.state.parts.people, app.state.parts.people._clock
    people._clock = lambda: clock() + seconds


def test_a_stolen_session_ends_with_the_logout_also_after_a_restart(
    client: TestClient, loop: WatchedLoop, login: Login
) -> None:
    stolen = {"Cookie": f"labelloop_dashboard={client.cookies['labelloop_dashboard']}"}
    thief = TestClient(client.app, follow_redirects=False)
    answer = thief.get("/", headers=stolen)
    assert answer.status_code == 200 and "Set-Cookie" not in answer.headers, "a page view renews no session"
    assert client.post("/logout", data={"csrf": csrf(client, "/")}).status_code == 303
    assert thief.get("/", headers=stolen).status_code == 303
    assert thief.get("/live", headers=stolen).status_code == 401
    restarted = TestClient(create_app(loop, "a secret", login), follow_redirects=False)
    assert restarted.get("/", headers=stolen).status_code == 303
    assert log_in(client) == 303 and client.get("/").status_code == 200


def test_a_session_ends_twelve_hours_after_the_login_however_it_was_used(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + SESSION_S - 60)
    press(client, "cancel")
    used = {"Cookie": f"labelloop_dashboard={client.cookies['labelloop_dashboard']}"}
    assert client.get("/", headers=used).status_code == 200
    monkeypatch.setattr(time, "time", lambda: began + SESSION_S + 60)
    assert client.get("/", headers=used).status_code == 303
    assert client.get("/live", headers=used).status_code == 401


def test_a_session_is_remembered_as_ended_until_it_would_have_ended_by_itself(tmp_path: Path) -> None:
    now = 1000.0
    ended = EndedSessions(tmp_path / "logged_out.json", lambda: now)
    ended.add("a")
    ended.add(None)
    now += SESSION_S - 1
    ended.add("b")
    assert "a" in ended and "b" in ended and None not in ended
    now += 2
    ended.add("c")
    again = EndedSessions(tmp_path / "logged_out.json", lambda: now)
    assert ["a" in again, "b" in again, "c" in again] == [False, True, True]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}'])
def test_a_damaged_list_of_ended_sessions_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "logged_out.json").write_text(text)
    ended = EndedSessions(tmp_path / "logged_out.json")
    ended.add("a")
    assert "a" in EndedSessions(tmp_path / "logged_out.json")


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD.upper(), PASSWORD + "\x00"])
def test_a_wrong_password_does_not(stranger: TestClient, password: str) -> None:
    form = {"csrf": csrf(stranger, "/login"), "email": EMAIL, "password": password}
    answer = stranger.post("/login", data=form)
    assert answer.status_code == 401
    assert "knows no user" in answer.text
    assert PASSWORD not in answer.text
    assert stranger.get("/").status_code == 303


def test_a_forged_session_is_none(stranger: TestClient, loop: WatchedLoop, login: Login) -> None:
    with TestClient(create_app(loop, "another secret", login), follow_redirects=False) as other:
        log_in(other)
        cookie = other.cookies["labelloop_dashboard"]
    stranger.cookies.set("labelloop_dashboard", cookie)
    assert stranger.get("/").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger: TestClient) -> None:
    cookie = stranger.get("/login").headers["Set-Cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie


@pytest.mark.parametrize("token", [None, "", "guessed", "ünicode"])
@pytest.mark.parametrize("path", ["/do/retrain", "/do/rollback", "/logout"])
def test_a_form_without_the_sessions_token_is_refused(
    client: TestClient, loop: WatchedLoop, path: str, token: str | None
) -> None:
    answer = client.post(path, data={} if token is None else {"csrf": token})
    assert answer.status_code == 403
    assert "load it anew" in answer.text
    assert loop.rounds.open_rounds() == []
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "body, status", [(b"\xff\xfe=1", 400), (b"a=1&" * 3000, 413), (b"a=1&" * 30, 400), (b"{}", 403)]
)
def test_what_is_no_form_is_refused(client: TestClient, body: bytes, status: int) -> None:
    assert client.post("/do/retrain", content=body).status_code == status


def test_guessing_is_slowed_down(stranger: TestClient) -> None:
    assert [log_in(stranger, "wrong") for _ in range(5)] == [401] * 5
    form = {"csrf": csrf(stranger, "/login"), "email": EMAIL.upper(), "password": PASSWORD}
    answer = stranger.post("/login", data=form)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_S


def test_the_throttle_forgets_and_counts_addresses_too() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    assert [throttle.attempt(f"user {n}", "10.0.0.1") for n in range(20)] == [0.0] * 20
    assert throttle.attempt("user 21", "10.0.0.1") == WINDOW_S
    assert throttle.attempt("user 21", "10.0.0.2") == 0.0
    now = WINDOW_S
    assert throttle.attempt("user 21", "10.0.0.1") == 0.0
    for _ in range(3):
        throttle.attempt("ann", "10.0.0.3")
    throttle.succeeded("ann", "10.0.0.3")
    assert [throttle.attempt("ann", "10.0.0.4") for _ in range(6)] == [0.0] * 5 + [WINDOW_S]


def test_any_number_of_people_behind_one_address_come_in() -> None:
    throttle = Throttle(lambda: 0.0)
    for number in range(100):
        assert throttle.attempt(f"user {number}", "10.0.0.1") == 0.0
        throttle.succeeded(f"user {number}", "10.0.0.1")
    throttle.succeeded("somebody", "an address that never tried")


@pytest.mark.parametrize(
    "path, to",
    [
        ("/rounds?project=2", "/rounds?project=2"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_the_login_leads_to_no_other_site(stranger: TestClient, path: str, to: str) -> None:
    assert local_path(path) == to
    form = {"csrf": csrf(stranger, "/login"), "email": EMAIL, "password": PASSWORD, "next": path}
    assert stranger.post("/login", data=form).headers["Location"] == to


@pytest.mark.parametrize("path", ["/login", "/", "/static/dashboard.js", "/nowhere", "/health"])
def test_every_answer_carries_the_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"


def test_nothing_but_the_pages_is_served(client: TestClient) -> None:
    for path in ("/docs", "/openapi.json", "/projects/1/rounds", "/static/../app.py", "/static/"):
        assert client.get(path).status_code == 404


def test_a_user_name_is_no_markup(stranger: TestClient, loop: WatchedLoop, fake_studio: FakeStudio) -> None:
    name = '"><b>Zoë</b>@example.org'
    fake_studio.people[1]["email"] = name
    assert log_in(stranger, email=name) == 303
    assert "<b>Zoë" not in stranger.get("/").text
    assert "Round 1 requested" in press(stranger, "retrain")
    assert loop.rounds.get(1).requested_by == f"dashboard, {name}"


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
    assert ask_label_studio(login_page, EMAIL, PASSWORD) == Person(
        id=7, email=EMAIL, administrator=False, stamp="s"
    )
    assert ask_label_studio(login_page, EMAIL, "wrong") is None


def test_label_studio_says_who_is_no_member(login_page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LoginPage.who, "member", False)
    with pytest.raises(NotAMember):
        ask_label_studio(login_page, EMAIL, PASSWORD)


def test_label_studios_own_throttle_is_passed_on(loop: WatchedLoop, login_page: str) -> None:
    with TestClient(
        create_app(loop, "a secret", lambda url, *given: ask_label_studio(login_page, *given))
    ) as client:
        form = {"csrf": csrf(client, "/login"), "email": GUESSED, "password": PASSWORD}
        answer = client.post("/login", data=form)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "42")
    assert "Try again in 42 seconds" in answer.text


def test_without_label_studio_nobody_can_log_in(loop: WatchedLoop) -> None:
    with pytest.raises(LoginError, match=r"does not answer at http://127.0.0.1:9"):
        ask_label_studio("http://127.0.0.1:9", EMAIL, PASSWORD)

    def gone(url: str, email: str, password: str) -> Person | None:
        raise LoginError("gone")

    with TestClient(create_app(loop, "a secret", gone)) as client:
        form = {"csrf": csrf(client, "/login"), "email": EMAIL, "password": PASSWORD}
        answer = client.post("/login", data=form)
        assert answer.status_code == 503
        assert "does not answer" in words(answer.text)


@pytest.mark.parametrize("status", [302, 307])
def test_a_login_page_that_leads_elsewhere_is_shown_no_password(status: int) -> None:
    with Elsewhere(status=status) as elsewhere, pytest.raises(LoginError, match="led from"):
        ask_label_studio(elsewhere.url, EMAIL, PASSWORD)
    assert elsewhere.sent == []
