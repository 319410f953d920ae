"""Who gets in, and what a stranger and a forged form get; and sessions of our own, which browsers have that
find Label Studio under another name: `apart`. Where its cookies are sent here too: test_one_login.py.
"""

import base64
import json
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from itsdangerous import TimestampSigner
from support.dashboard import EMAIL, PASSWORD, Login, cookie_names, csrf, log_in, press, words
from support.fake_studio import FakeStudio, add_labelled

from labelloop.throttle import WINDOW_S, Throttle
from trainer.dashboard import sessions
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import FRESH_S, GRACE_S
from trainer.dashboard.security import SESSION_S, local_path
from trainer.dashboard.sessions import EndedSessions

PAGES = ("/", "/live", "/rounds/1/loss.svg", "/do/retrain")


@pytest.fixture
def apart(loop: WatchedLoop) -> None:
    """Label Studio has another name than the dashboard, so browsers keep their cookies apart."""
    loop.settings.public_url = "https://labels.example"


def kept(client: TestClient) -> dict[str, str]:
    """A copy of the dashboard's cookie, as a header."""
    name = cookie_names(client).dashboard
    return {"Cookie": f"{name}={client.cookies[name]}"}


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


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("change", REFUSED)
def test_a_session_ends_within_seconds_of_its_persons_removal(
    client: TestClient, app: FastAPI, fake_studio: FakeStudio, change: dict[str, object] | None
) -> None:
    """That is five: an open page asks every two. A copy of the cookie does not outlive it, nor come back."""
    assert client.get("/live").status_code == 200
    copy = kept(client)
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
    assert thief.get("/", headers=copy).status_code == 303, "who comes back logs in anew"
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


@pytest.mark.usefixtures("apart")
def test_a_session_from_before_membership_was_asked_for_is_none(stranger: TestClient) -> None:
    held = {"user": EMAIL, "id": "x" * 22, "since": time.time(), "csrf": "y" * 32}
    signed = TimestampSigner("a secret").sign(base64.b64encode(json.dumps(held).encode())).decode()
    stranger.cookies.set(cookie_names(stranger).dashboard, signed, domain="testserver.local", path="/")
    assert stranger.post("/do/retrain", data={"csrf": "y" * 32}).status_code == 401
    stranger.cookies.set(cookie_names(stranger).dashboard, signed, domain="testserver.local", path="/")
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


@pytest.mark.usefixtures("apart")
def test_a_stolen_session_ends_with_the_logout_also_after_a_restart(
    client: TestClient, loop: WatchedLoop, login: Login
) -> None:
    stolen = kept(client)
    thief = TestClient(client.app, follow_redirects=False)
    answer = thief.get("/", headers=stolen)
    assert answer.status_code == 200 and "Set-Cookie" not in answer.headers, "a page view renews no session"
    assert client.post("/logout", data={"csrf": csrf(client, "/")}).status_code == 303
    assert thief.get("/", headers=stolen).status_code == 303
    assert thief.get("/live", headers=stolen).status_code == 401
    restarted = TestClient(create_app(loop, "a secret", login), follow_redirects=False)
    assert restarted.get("/", headers=stolen).status_code == 303
    assert log_in(client) == 303 and client.get("/").status_code == 200


@pytest.mark.usefixtures("apart")
def test_a_session_ends_twelve_hours_after_the_login_however_it_was_used(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + SESSION_S - 60)
    press(client, "cancel")
    used = kept(client)
    assert client.get("/", headers=used).status_code == 200
    monkeypatch.setattr(time, "time", lambda: began + SESSION_S + 60)
    assert client.get("/", headers=used).status_code == 303
    assert client.get("/live", headers=used).status_code == 401


def test_a_clock_that_is_ahead_for_a_while_forgets_no_end(tmp_path: Path) -> None:
    now = 1000.0
    ended = EndedSessions(tmp_path / "logged_out.json", lambda: now)
    ended.add("a")
    now += 1e8
    ended.add("b")
    now -= 1e8
    assert "a" in EndedSessions(tmp_path / "logged_out.json", lambda: now)


def test_a_session_is_remembered_as_ended_until_it_would_have_ended_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "KEPT", 1)
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


@pytest.mark.usefixtures("apart")
def test_a_forged_session_is_none(stranger: TestClient, loop: WatchedLoop, login: Login) -> None:
    with TestClient(create_app(loop, "another secret", login), follow_redirects=False) as other:
        log_in(other)
        cookie = other.cookies[cookie_names(other).dashboard]
    stranger.cookies.set(cookie_names(stranger).dashboard, cookie)
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
    "body, status", [(b"\xff\xfe=1", 400), (b"a=1&" * 3000, 413), (b"a=1&" * 41, 400), (b"{}", 403)]
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
    add_labelled(fake_studio, 25)
    assert "Round 1 requested" in press(stranger, "retrain")
    assert loop.rounds.get(1).requested_by == f"dashboard, {name}"
