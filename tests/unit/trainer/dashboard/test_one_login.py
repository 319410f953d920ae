"""One login for Label Studio and the dashboard, where browsers send Label Studio's cookies to both: who has a
session there is in, what ends there ends here, and what is made up or somebody else's opens nothing.
"""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import EMAIL, LABELLER, PASSWORD, cookie_names, csrf, log_in, press, words
from support.fake_studio import FakeStudio, add_labelled

from labelloop.cookies import CookieNames
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import FRESH_S, GRACE_S, KEPT, People, StudioSession
from trainer.env import TrainerSettings

ANN, BEA = 1, 2


def give(client: TestClient, value: str) -> None:
    """Puts Label Studio's cookie into a browser, as its own login does."""
    client.cookies.set(cookie_names(client).session, value, domain="testserver.local", path="/")


def at_label_studio(client: TestClient, fake_studio: FakeStudio, person: int = ANN) -> str:
    """Logs a person in at Label Studio's own page; the value of the cookie."""
    value = fake_studio.open_session(person)
    give(client, value)
    return value


@pytest.fixture
def fresh(app: FastAPI) -> People:
    """Nothing that is known of people counts for longer than the request."""
    people: People = app.state.parts.people
    people.fresh_s = -1.0
    return people


@pytest.fixture
def other(app: FastAPI) -> Iterator[TestClient]:
    """Another browser."""
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_who_is_logged_in_at_label_studio_is_asked_for_no_password(
    stranger: TestClient, fake_studio: FakeStudio, loop: WatchedLoop
) -> None:
    at_label_studio(stranger, fake_studio)
    assert EMAIL in stranger.get("/").text
    assert stranger.get("/login?next=/rounds").headers["Location"] == "/rounds"
    add_labelled(fake_studio, 25)
    assert "Round 1 requested" in press(stranger, "retrain")
    assert loop.rounds.get(1).requested_by == f"dashboard, {EMAIL}"


def test_who_logs_in_here_is_logged_in_at_label_studio(stranger: TestClient, fake_studio: FakeStudio) -> None:
    form = {"csrf": csrf(stranger, "/login"), "email": EMAIL, "password": PASSWORD}
    answer = stranger.post("/login", data=form)
    name = cookie_names(stranger).session
    handed = next(row for row in answer.headers.get_list("Set-Cookie") if row.startswith(f"{name}="))
    assert "HttpOnly" in handed and "SameSite=lax" in handed and "Path=/" in handed
    assert "Domain" not in handed and "Secure" not in handed, "as Label Studio's own, over plain HTTP"
    assert "expires" not in handed, "until the browser is closed"
    assert fake_studio.sessions[stranger.cookies[name]][0] == ANN
    assert EMAIL in stranger.get("/").text


def test_the_handed_over_cookie_is_kept_and_secure_where_it_is_to_be(
    app: FastAPI, fake_studio: FakeStudio
) -> None:
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        form = {"csrf": csrf(client, "/login"), "email": EMAIL, "password": PASSWORD, "keep": "on"}
        handed = client.post("/login", data=form).headers["Set-Cookie"]
    assert "Secure" in handed and "expires" in handed


def test_logging_out_here_logs_out_there_and_everybody_who_has_the_cookie(
    stranger: TestClient, other: TestClient, fake_studio: FakeStudio
) -> None:
    value = at_label_studio(stranger, fake_studio)
    give(other, value)
    assert other.get("/").status_code == 200
    answer = stranger.post("/logout", data={"csrf": csrf(stranger, "/")})
    assert answer.headers["Location"] == "/login"
    assert value not in fake_studio.sessions
    assert cookie_names(stranger).session not in stranger.cookies
    assert stranger.get("/").status_code == 303
    assert other.get("/live").status_code == 401, "at once, whatever was known of the session"


def test_logging_out_there_logs_out_here(
    stranger: TestClient, fake_studio: FakeStudio, fresh: People
) -> None:
    value = at_label_studio(stranger, fake_studio)
    token = csrf(stranger, "/")
    del fake_studio.sessions[value]
    assert stranger.post("/do/retrain", data={"csrf": token}).status_code == 401, "at once"
    assert stranger.get("/live").status_code == 401


def test_an_open_page_ends_within_seconds_of_its_session(
    stranger: TestClient, fake_studio: FakeStudio, app: FastAPI
) -> None:
    value = at_label_studio(stranger, fake_studio)
    assert stranger.get("/live").status_code == 200
    asked = len(fake_studio.asked_for)
    del fake_studio.sessions[value]
    assert stranger.get("/live").status_code == 200 and len(fake_studio.asked_for) == asked
    pass_time(app, FRESH_S + 0.1)
    assert stranger.get("/live").status_code == 401


def pass_time(app: FastAPI, seconds: float) -> None:
    people, clock = app.state.parts.people, app.state.parts.people._clock
    people._clock = lambda: clock() + seconds


@pytest.mark.parametrize("change", [{"member": False}, {"stamp": "another password"}, None])
def test_removed_deleted_or_with_another_password_she_is_out(
    stranger: TestClient, fake_studio: FakeStudio, fresh: People, change: dict[str, object] | None
) -> None:
    at_label_studio(stranger, fake_studio)
    assert stranger.get("/").status_code == 200
    if change is None:
        del fake_studio.people[ANN]
    else:
        fake_studio.people[ANN] |= change
    assert stranger.get("/").headers["Location"] == "/login?next=/"
    assert "Log in" in stranger.get("/login").text


def test_who_is_no_administrator_any_more_acts_no_more(
    stranger: TestClient, fake_studio: FakeStudio, fresh: People
) -> None:
    at_label_studio(stranger, fake_studio)
    token = csrf(stranger, "/do/retrain")
    fake_studio.people[ANN]["administrator"] = False
    assert stranger.post("/do/retrain", data={"csrf": token}).status_code == 403


@pytest.mark.parametrize(
    "value",
    ["", "x", "session-00000099", ".eJxVjEEOwiAQ:1vP:forged-signature", "a b", "a\tb", "é" * 20, "a" * 5000],
)
def test_a_made_up_session_is_none(
    stranger: TestClient, fake_studio: FakeStudio, loop: WatchedLoop, value: str
) -> None:
    name = cookie_names(stranger).session
    token = csrf(stranger, "/login")
    header = {
        "Cookie": f"{name}={value}; {cookie_names(stranger).dashboard}={own(stranger)}".encode("latin-1")
    }
    assert stranger.get("/", headers=header).status_code == 303  # type: ignore[arg-type]
    answer = stranger.post("/do/retrain", data={"csrf": token}, headers=header)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert loop.rounds.open_rounds() == []


def own(client: TestClient) -> str:
    return client.cookies[cookie_names(client).dashboard]


def test_label_studio_gets_that_one_cookie_and_nobody_else_any(
    stranger: TestClient, fake_studio: FakeStudio
) -> None:
    value = at_label_studio(stranger, fake_studio)
    stranger.cookies.set("another", "secret", domain="testserver.local", path="/")
    assert stranger.get("/rounds").status_code == 200
    assert set(fake_studio.cookies) == {f"{cookie_names(stranger).session}={value}"}


def test_another_stacks_session_is_not_asked_about(stranger: TestClient, fake_studio: FakeStudio) -> None:
    """Two stacks on one host: the browser sends both the cookies of both."""
    stranger.cookies.set("sessionid", fake_studio.open_session(ANN), domain="testserver.local", path="/")
    stranger.cookies.set("sessionid_12345678", fake_studio.open_session(ANN), domain="testserver.local")
    assert stranger.get("/").status_code == 303
    assert fake_studio.cookies == []


def test_each_stack_has_names_of_its_own() -> None:
    names = [CookieNames.of(TrainerSettings(api_token=token)) for token in ("a" * 40, "b" * 40)]  # type: ignore[arg-type]
    assert len({*vars(names[0]).values(), *vars(names[1]).values()}) == 6
    assert names[0] == CookieNames.of(TrainerSettings(api_token="a" * 40)), "a restart changes none"  # type: ignore[arg-type]
    assert "aaaa" not in str(names[0])
    assert CookieNames.of(TrainerSettings()).session == "sessionid"


def test_a_session_of_ours_is_none_where_label_studios_counts(
    stranger: TestClient, loop: WatchedLoop
) -> None:
    """It would outlast the logout at Label Studio."""
    loop.settings.public_url = "https://labels.example"
    assert log_in(stranger) == 303 and stranger.get("/").status_code == 200
    loop.settings.public_url = ""
    assert stranger.get("/").status_code == 303


def test_where_label_studio_has_another_name_the_form_opens_a_session_of_ours_alone(
    stranger: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    loop.settings.public_url = "https://labels.example"
    at_label_studio(stranger, fake_studio, BEA)
    before = dict(fake_studio.sessions)
    assert stranger.get("/").status_code == 303, "a cookie that came here by chance is not asked about"
    assert "keep" not in stranger.get("/login").text
    assert log_in(stranger) == 303
    assert fake_studio.sessions == before, "the login's session at Label Studio has been ended"
    assert EMAIL in stranger.get("/").text
    loop.settings.public_url = "https://TestServer:8443"
    assert LABELLER in stranger.get("/").text, "one name, two ports"


def test_a_plain_users_session_presses_no_administrators_button(
    stranger: TestClient, fake_studio: FakeStudio, loop: WatchedLoop
) -> None:
    at_label_studio(stranger, fake_studio, BEA)
    assert "for administrators" in stranger.get("/").text
    token = csrf(stranger, "/")
    assert stranger.post("/do/retrain", data={"csrf": token}).status_code == 403
    assert loop.rounds.open_rounds() == []


def test_a_form_opened_as_one_person_is_not_sent_as_another(
    stranger: TestClient, fake_studio: FakeStudio, loop: WatchedLoop
) -> None:
    """Nor is one that somebody else opened, whose cookie a page on another port of this host put here."""
    at_label_studio(stranger, fake_studio, BEA)
    token = csrf(stranger, "/")
    at_label_studio(stranger, fake_studio, ANN)
    answer = stranger.post("/do/retrain", data={"csrf": token})
    assert answer.status_code == 403 and "load it anew" in answer.text
    assert loop.rounds.open_rounds() == []
    add_labelled(fake_studio, 25)
    assert "Round 1 requested" in press(stranger, "retrain")


def test_a_form_opened_by_nobody_is_not_sent_as_somebody(
    stranger: TestClient, fake_studio: FakeStudio, loop: WatchedLoop
) -> None:
    token = csrf(stranger, "/login")
    at_label_studio(stranger, fake_studio, ANN)
    assert stranger.post("/do/retrain", data={"csrf": token}).status_code == 403
    assert loop.rounds.open_rounds() == []


def test_what_is_said_to_one_person_is_not_shown_to_another(
    stranger: TestClient, fake_studio: FakeStudio
) -> None:
    at_label_studio(stranger, fake_studio, ANN)
    form = {"csrf": csrf(stranger, "/do/retrain")}
    assert stranger.post("/do/retrain", data=form).status_code == 303
    at_label_studio(stranger, fake_studio, BEA)
    assert "requested. It begins" not in words(stranger.get("/").text)


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "\t//evil.example"]
)
def test_whoever_is_in_already_is_led_to_no_other_site(
    stranger: TestClient, fake_studio: FakeStudio, to: str
) -> None:
    at_label_studio(stranger, fake_studio)
    assert stranger.get("/login", params={"next": to}).headers["Location"] == "/"


def test_a_page_view_renews_no_cookie(stranger: TestClient, fake_studio: FakeStudio) -> None:
    at_label_studio(stranger, fake_studio)
    assert stranger.get("/").status_code == 200
    assert "Set-Cookie" not in stranger.get("/").headers


def test_while_label_studio_is_silent_she_may_look_on_for_a_while_and_is_not_logged_out(
    stranger: TestClient, other: TestClient, app: FastAPI, fake_studio: FakeStudio
) -> None:
    at_label_studio(stranger, fake_studio)
    token = csrf(stranger, "/")
    give(other, fake_studio.open_session(BEA))
    fake_studio.down = True
    assert stranger.post("/do/retrain", data={"csrf": token}).status_code == 503
    assert other.get("/").status_code == 503, "of whom nothing is known"
    pass_time(app, GRACE_S - 1)
    assert stranger.get("/").status_code == 200
    pass_time(app, 2)
    assert stranger.get("/").status_code == 503
    assert stranger.get("/login").status_code == 303
    fake_studio.down = False
    pass_time(app, FRESH_S + 0.1)
    assert stranger.get("/").status_code == other.get("/").status_code == 200


def test_made_up_sessions_do_not_fill_the_memory(app: FastAPI, fake_studio: FakeStudio) -> None:
    people: People = app.state.parts.people
    fake_studio.add_person(ANN, EMAIL)
    assert people.lately(StudioSession(fake_studio.open_session(ANN))) is not None
    for number in range(KEPT):
        people.logged_out(StudioSession(f"made up {number}"))
    pass_time(app, FRESH_S + 0.1)
    people.logged_out(StudioSession("one more"))
    assert len(people._known) == 2, "who is in, and the newest"


def test_a_session_shows_in_no_log() -> None:
    assert "s3cret" not in repr(StudioSession("s3cret")) + str(StudioSession("s3cret"))
