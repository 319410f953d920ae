"""What a person meets at the door: the login, the closed sign-up, the static files."""

import re

import pytest
import requests
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio


def sign_in(
    base: str, path: str = "/user/login/", email: str = EMAIL, password: str = PASSWORD
) -> requests.Response:
    """Sends the login form as a browser does, with its Origin."""
    session = requests.Session()
    page = session.get(base + "/user/login/", timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, page.text[:500]
    form = {"csrfmiddlewaretoken": token[1], "email": email, "password": password, "persist_session": "on"}
    return session.post(base + path, form, headers={"Origin": base, "Referer": base + path}, timeout=30)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_admin_signs_in_under_either_name(provisioned: LabelStudio, host: str) -> None:
    answer = sign_in(provisioned.url.replace("127.0.0.1", host))
    assert answer.status_code == 200 and "/user/login" not in answer.url
    assert EMAIL in answer.text


def test_a_wrong_password_stays_outside(provisioned: LabelStudio) -> None:
    answer = sign_in(provisioned.url, password="guessed")
    assert answer.url.endswith("/user/login/") and EMAIL not in answer.text.split("<form")[0]


def test_another_site_cannot_send_the_login_form(provisioned: LabelStudio) -> None:
    answer = requests.post(
        provisioned.url + "/user/login/",
        {"email": EMAIL, "password": PASSWORD},
        headers={"Origin": "http://elsewhere.example"},
        timeout=30,
    )
    assert answer.status_code == 403


def test_sign_up_is_closed(provisioned: LabelStudio) -> None:
    form = requests.get(provisioned.url + "/user/signup/", allow_redirects=False, timeout=30)
    assert form.status_code == 302 and form.headers["Location"] == "/user/login/"
    assert sign_in(provisioned.url, "/user/signup/").status_code == 403
    assert "Sign up" not in requests.get(provisioned.url + "/user/login/", timeout=30).text


def test_nothing_is_shown_without_a_login(provisioned: LabelStudio) -> None:
    assert requests.get(provisioned.url + "/api/projects", timeout=30).status_code == 401
    page = requests.get(provisioned.url + "/projects/1/data", timeout=30)
    assert "/user/login" in page.url


@pytest.mark.parametrize("path", ["/static/images/favicon.ico", "/react-app/main.js", "/react-app/main.css"])
def test_static_files_are_served(provisioned: LabelStudio, path: str) -> None:
    answer = requests.get(provisioned.url + path, timeout=30)
    assert answer.status_code == 200 and len(answer.content) > 1000


def test_the_login_page_names_no_tracker(provisioned: LabelStudio) -> None:
    page = requests.get(provisioned.url + "/user/login/", timeout=30).text
    assert "googletagmanager" not in page and "sentry-cdn" not in page
    assert "collect_analytics = false" in page
    assert requests.get(provisioned.url + "/heidi-tips/", timeout=30).json() == {}
