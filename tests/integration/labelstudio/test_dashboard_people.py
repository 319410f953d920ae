"""Who Label Studio says somebody is, and what the dashboard makes of it, as people are removed, deactivated,
deleted, taken back and given other passwords.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from fastapi.testclient import TestClient
from integration.labelstudio.test_dashboard import sign_up, who
from integration.labelstudio.test_doors import session_of
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio, until
from pydantic import SecretStr
from support.dashboard import csrf, words
from support.versions import add_version

from labelloop.studio import Studio
from trainer.dashboard.app import create_app
from trainer.dashboard.buttons import BUTTONS
from trainer.dashboard.login import LoginError, NotAMember
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import ME, PERSON, NoAnswer, People, Person, read_person
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend

HERS = "battery staple 2"

_numbers = itertools.count()


@pytest.fixture
def person(provisioned: LabelStudio) -> Person:
    """A member who is no administrator; her password is HERS."""
    email = f"person{next(_numbers)}@example.org"
    sign_up(provisioned, email, HERS)
    found = who(provisioned, email, HERS)
    assert found is not None and not found.administrator
    return found


@pytest.fixture
def people(provisioned: LabelStudio) -> People:
    return People(provisioned.studio)


def remove(label_studio: LabelStudio, person: Person) -> None:
    """As an administrator does on the page Organization."""
    label_studio.studio.request("DELETE", f"/api/organizations/1/memberships/{person.id}/")


def take_back(label_studio: LabelStudio, person: Person) -> None:
    """As an administrator does in Django's administration: Organization members, `deleted at` left empty."""
    with closing(sqlite3.connect(database_of(label_studio), timeout=30)) as database:
        query = "select id from organizations_organizationmember where user_id = ?"
        (membership,) = database.execute(query, (person.id,)).fetchone()
    page = f"{label_studio.url}/admin/organizations/organizationmember/{membership}/change/"
    with session_of(label_studio) as browser:
        assert "deleted_at_0" in browser.get(page, timeout=30).text
        form = {"user": str(person.id), "organization": "1", "deleted_at_0": "", "deleted_at_1": ""}
        token = {"csrfmiddlewaretoken": browser.cookies[label_studio.cookies.csrf]}
        changed = browser.post(page, data=form | token, timeout=30, allow_redirects=False)
    assert changed.status_code == 302, changed.text[:2000]


def database_of(label_studio: LabelStudio) -> Path:
    return label_studio.data / "label_studio.sqlite3"


def change(label_studio: LabelStudio, statement: str, person: Person) -> None:
    """As Django's administration does."""
    with closing(sqlite3.connect(database_of(label_studio), timeout=30)) as database:
        assert database.execute(statement, (person.id,)).rowcount == 1
        database.commit()


def test_whoever_logs_in_and_who_is_asked_for_later_are_the_same(
    provisioned: LabelStudio, people: People, person: Person
) -> None:
    assert people.ask(person.id) == person
    admin = who(provisioned, EMAIL, PASSWORD)
    assert admin is not None and admin.administrator and people.ask(admin.id) == admin
    assert people.ask(4711) is None


def test_a_removed_person_is_refused_until_she_is_a_member_again(
    provisioned: LabelStudio, people: People, person: Person
) -> None:
    remove(provisioned, person)
    assert people.ask(person.id) is None
    for _ in range(2):  # a login makes the organisation hers again in Label Studio's eyes
        with pytest.raises(NotAMember):
            who(provisioned, person.email, HERS)
        assert people.ask(person.id) is None
    take_back(provisioned, person)
    assert people.ask(person.id) == who(provisioned, person.email, HERS) == person


@pytest.mark.parametrize(
    "statement",
    [
        "update htx_user set is_active = false where id = ?",
        "update htx_user set is_active = false, is_superuser = true where id = ?",
    ],
)
def test_a_deactivated_person_is_refused(
    provisioned: LabelStudio, people: People, person: Person, statement: str
) -> None:
    change(provisioned, statement, person)
    assert people.ask(person.id) is None
    assert who(provisioned, person.email, HERS) is None


def test_who_was_never_a_member_is_refused(provisioned: LabelStudio, people: People, person: Person) -> None:
    """As is a user made in Django's administration. Label Studio's own login fails at her."""
    change(provisioned, "delete from organizations_organizationmember where user_id = ?", person)
    assert people.ask(person.id) is None
    with pytest.raises(LoginError, match="500") as refused:
        who(provisioned, person.email, HERS)
    assert refused.value.told == "Label Studio fails at this login, with 500. See make logs."


def test_a_deleted_person_is_refused(provisioned: LabelStudio, people: People, person: Person) -> None:
    provisioned.studio.request("DELETE", f"/api/users/{person.id}/")
    assert people.ask(person.id) is None
    assert who(provisioned, person.email, HERS) is None


def test_a_new_password_is_another_stamp(provisioned: LabelStudio, people: People, person: Person) -> None:
    """Of the password a stamp tells nothing, nor is it the same for two with the same one."""
    others = "update htx_user set password = (select password from htx_user where id = 1) where id = ?"
    change(provisioned, others, person)
    found = people.ask(person.id)
    assert found is not None and found.stamp != person.stamp
    assert who(provisioned, person.email, PASSWORD) == found


def test_a_superuser_who_is_a_member_is_an_administrator(
    provisioned: LabelStudio, people: People, person: Person
) -> None:
    change(provisioned, "update htx_user set is_superuser = true where id = ?", person)
    found = people.ask(person.id)
    assert found is not None and found.administrator
    remove(provisioned, person)
    assert people.ask(person.id) is None


def test_only_administrators_may_ask_about_others(provisioned: LabelStudio, person: Person) -> None:
    with closing(sqlite3.connect(database_of(provisioned), timeout=30)) as database:
        query = "select key from authtoken_token where user_id = ?"
        (token,) = database.execute(query, (person.id,)).fetchone()
    hers = Studio(provisioned.url, token)
    assert read_person(hers.request("GET", ME)) == person
    for somebody in (1, person.id, 4711):
        with pytest.raises(NoAnswer, match="403"):
            People(hers).ask(somebody)
    with pytest.raises(NoAnswer, match="401"):
        People(Studio(provisioned.url, "f" * 40)).ask(1)
    for path in (ME, PERSON.format(1)):
        assert requests.get(f"{provisioned.url}{path}", timeout=30).status_code == 401


@pytest.fixture
def dashboard(provisioned: LabelStudio, tmp_path: Path) -> Iterator[Callable[[], TestClient]]:
    """Makes browsers before a dashboard of this Label Studio's project 1, which asks every 0.2 s."""
    token = SecretStr(provisioned.environment["API_TOKEN"])
    settings = TrainerSettings(labelloop_home=tmp_path, labelstudio_url=provisioned.url, api_token=token)
    loop = WatchedLoop(settings, provisioned.studio, Backend("http://127.0.0.1:1", "backend"))
    for _ in range(2):
        loop.models(1).promote(add_version(loop.models(1), tmp_path / "made"))
    app = create_app(loop, "a secret")
    app.state.parts.people.fresh_s = 0.2
    yield lambda: TestClient(app, follow_redirects=False)


def log_in(browser: TestClient, email: str, password: str) -> requests.Response:
    form = {"csrf": csrf(browser, "/login"), "email": email, "password": password}
    return browser.post("/login", data=form)  # type: ignore[return-value]


def test_a_person_who_is_removed_loses_the_dashboard(
    dashboard: Callable[[], TestClient], provisioned: LabelStudio, person: Person
) -> None:
    browser, other = dashboard(), dashboard()
    assert log_in(browser, person.email, HERS).status_code == 303
    assert log_in(other, person.email, HERS).status_code == 303
    assert "Steering the loop is for administrators." in words(browser.get("/?project=1").text)
    form = {"csrf": csrf(browser, "/?project=1"), "version": "v0000"}
    for steering in BUTTONS:
        assert browser.post(f"/do/{steering}?project=1", data=form).status_code == 403, steering
    may = browser.post("/model/look?project=1", data=form)
    assert may.status_code == 404 and "no round has scored this version yet" in may.text
    remove(provisioned, person)
    assert browser.post("/model/look?project=1", data=form).status_code == 401, "at once"
    until(lambda: other.get("/live?project=1").status_code == 401, 60, "an open page of hers ends")
    refused = log_in(browser, person.email, HERS)
    assert refused.status_code == 403
    assert "You are no active member of this Label Studio." in words(refused.text)
    assert browser.get("/do/rollback?project=1").status_code == 303


def test_the_administrator_rolls_back(dashboard: Callable[[], TestClient]) -> None:
    browser = dashboard()
    assert log_in(browser, EMAIL, PASSWORD).status_code == 303
    form = {"csrf": csrf(browser, "/do/rollback?project=1"), "version": "v0000"}
    assert browser.post("/do/rollback?project=1", data=form).status_code == 303
    assert "In service: v0000, before: v0001." in words(browser.get("/?project=1").text)
