"""One login for both, at a real Label Studio: its sessions open the dashboard, the dashboard's form opens one
of them, and what ends at either ends at both.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from fastapi.testclient import TestClient
from integration.labelstudio.test_dashboard_people import change, remove
from integration.support.labelstudio import EMAIL, TOKEN, LabelStudio
from integration.support.people import PASSWORD_OF_ALL, Person, labeller, log_in
from pydantic import SecretStr
from support.dashboard import csrf, words

from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import People, StudioSession
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend

_numbers = itertools.count()


@pytest.fixture
def ann(provisioned: LabelStudio) -> Person:
    """A labeller, logged in at Label Studio."""
    return labeller(provisioned, f"one.login{next(_numbers)}@example.org")


@pytest.fixture
def dashboard(provisioned: LabelStudio, tmp_path: Path) -> Iterator[Callable[[], TestClient]]:
    """Makes browsers before a dashboard of this Label Studio, under the same name as it."""
    settings = TrainerSettings(
        labelloop_home=tmp_path, labelstudio_url=provisioned.url, api_token=SecretStr(TOKEN)
    )
    app = create_app(
        WatchedLoop(settings, provisioned.studio, Backend("http://127.0.0.1:1", "backend")), "a secret"
    )
    app.state.parts.people.fresh_s = -1.0
    yield lambda: TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False)


def session_of(person: Person, label_studio: LabelStudio) -> str:
    return str(person.session.cookies[label_studio.cookies.session])


def with_session(label_studio: LabelStudio, value: str) -> dict[str, str]:
    return {"Cookie": f"{label_studio.cookies.session}={value}"}


def asks(label_studio: LabelStudio) -> People:
    """What the dashboard asks with."""
    return People(label_studio.studio, session_cookie=label_studio.cookies.session)


def who_is(label_studio: LabelStudio, value: str) -> int:
    """The status of Label Studio's answer to whoever has a session's cookie."""
    url = f"{label_studio.url}/api/current-user/whoami"
    return requests.get(url, headers=with_session(label_studio, value), timeout=30).status_code


def test_a_session_at_label_studio_opens_the_dashboard(
    provisioned: LabelStudio, ann: Person, dashboard: Callable[[], TestClient]
) -> None:
    hers = with_session(provisioned, session_of(ann, provisioned))
    assert ann.email in dashboard().get("/", headers=hers).text
    browser = dashboard()
    browser.headers["Cookie"] = with_session(provisioned, session_of(log_in(provisioned), provisioned))[
        "Cookie"
    ]
    assert EMAIL in browser.get("/").text
    assert "Steering the loop" not in words(browser.get("/").text), "an administrator"


def test_the_dashboards_form_logs_in_at_both_and_its_button_out_of_both(
    provisioned: LabelStudio, ann: Person, dashboard: Callable[[], TestClient]
) -> None:
    browser = dashboard()
    form = {"csrf": csrf(browser, "/login"), "email": ann.email, "password": PASSWORD_OF_ALL, "keep": "on"}
    answer = browser.post("/login", data=form)
    assert answer.status_code == 303 and "expires=" in answer.headers["Set-Cookie"]
    value = browser.cookies[provisioned.cookies.session]
    assert ann.email in browser.get("/").text and who_is(provisioned, value) == 200
    assert browser.post("/logout", data={"csrf": csrf(browser, "/")}).status_code == 303
    assert provisioned.cookies.session not in browser.cookies
    assert who_is(provisioned, value) == 401, "a copy of the cookie has ended too"
    assert dashboard().get("/", headers=with_session(provisioned, value)).status_code == 303
    assert session_of(ann, provisioned) and ann.get("/api/projects").status_code == 200, "her other browser"


def test_a_logout_at_label_studio_ends_every_copy_of_the_session(
    provisioned: LabelStudio, ann: Person, dashboard: Callable[[], TestClient]
) -> None:
    """Also the answer that was under way meanwhile, which brings a cookie signed anew."""
    stale = session_of(ann, provisioned)
    ann.get("/api/projects")
    renewed = session_of(ann, provisioned)
    assert ann.get("/logout").status_code == 302
    for value in (stale, renewed):
        assert who_is(provisioned, value) == 401
        assert dashboard().get("/", headers=with_session(provisioned, value)).status_code == 303
    again = log_in(provisioned, ann.email, PASSWORD_OF_ALL)
    assert who_is(provisioned, session_of(again, provisioned)) == 200


def test_a_logout_at_djangos_administration_is_one(provisioned: LabelStudio) -> None:
    boss = log_in(provisioned)
    value = session_of(boss, provisioned)
    boss.get("/admin/")
    form = {"csrfmiddlewaretoken": boss.csrf}
    assert boss.ask("POST", "/admin/logout/", data=form).status_code in (200, 302)
    assert who_is(provisioned, value) == 401


def test_a_clock_that_is_ahead_for_a_while_revives_no_session(provisioned: LabelStudio, ann: Person) -> None:
    """Whoever logs out meanwhile has the times of all others behind her."""
    value = session_of(ann, provisioned)
    assert ann.get("/logout").status_code == 302
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database:
        assert database.execute("UPDATE labelloop_ended_sessions SET until = 1.0").rowcount > 0
        database.commit()
    assert log_in(provisioned).get("/logout").status_code == 302
    assert who_is(provisioned, value) == 401


SESSIONS = """
import time
from django.conf import settings
settings.configure(SECRET_KEY="for tests only")
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing

clock = time.time
how = dict(salt="django.contrib.sessions.backends.signed_cookies", serializer=JSONSerializer)
known = signing.loads("VALUE", **how)
for ahead in (0.0, 1e8):
    time.time = lambda: clock() + ahead
    print(signing.dumps(known | {"last_login": time.time()}, compress=True, **how))
"""


def test_a_session_that_began_in_the_future_opens_nothing(provisioned: LabelStudio, ann: Person) -> None:
    """The clock was ahead at its login. Django counts no cookie as too old that is not of the past."""
    made = provisioned.run_program(SESSIONS.replace("VALUE", session_of(ann, provisioned))).splitlines()
    assert [who_is(provisioned, value) for value in made] == [200, 401]


FORGERIES: list[Callable[[str], str]] = [
    lambda value: value[:-2] + ("AA" if value[-2:] != "AA" else "BB"),
    lambda value: "x" + value,
    lambda value: value[::-1],
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forged_session_opens_nothing(
    provisioned: LabelStudio, dashboard: Callable[[], TestClient], forge: Callable[[str], str]
) -> None:
    value = forge(session_of(log_in(provisioned), provisioned))
    assert asks(provisioned).ask(StudioSession(value)) is None
    assert dashboard().get("/", headers=with_session(provisioned, value)).status_code == 303


@pytest.mark.parametrize(
    "statement",
    [
        "update htx_user set is_active = false where id = ?",
        "update htx_user set password = (select password from htx_user where id = 1) where id = ?",
        None,
    ],
)
def test_deactivated_removed_or_with_another_password_she_is_out_of_both(
    provisioned: LabelStudio, ann: Person, dashboard: Callable[[], TestClient], statement: str | None
) -> None:
    value, browser = session_of(ann, provisioned), dashboard()
    browser.headers.update(with_session(provisioned, value))
    assert browser.get("/").status_code == 200
    known = asks(provisioned).ask(StudioSession(value))
    assert known is not None
    if statement is None:
        remove(provisioned, known)
    else:
        change(provisioned, statement, known)
    assert browser.get("/live").status_code == 401
    assert who_is(provisioned, value) in (401, 403)


def test_a_token_in_place_of_a_session_opens_nothing(
    provisioned: LabelStudio, dashboard: Callable[[], TestClient]
) -> None:
    assert dashboard().get("/", headers=with_session(provisioned, TOKEN)).status_code == 303
    assert dashboard().get("/", headers={"Authorization": f"Token {TOKEN}"}).status_code == 303
