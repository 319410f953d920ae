"""Label Studio from outside: what an answer carries, who may read what, how often a password may be tried."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
import requests
from integration.labelstudio.test_pages import sign_in
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio

from labelloop.throttle import PER_USER

# Open to everybody: the login and what it is made of, whether it runs, which version (Label Studio's pattern
# that matches wherever it ends a path), how its API is called, what webhooks there can be, and a lack of
# credentials that is told with 200.
PUBLIC = re.compile(
    r"/(user/login/|user/signup/|admin/log(in|out)/|api-auth/log(in|out)/|static/|label-studio-frontend/|dm/|"
    r"react-app/|sw(-fallback)?\.js|favicon\.ico|health/|metrics/|samples/|docs/|swagger|heidi-tips/|__lsa/|"
    r"admin/jsi18n/|.*version/|api/webhooks/info/|django-rq/stats\.json)"
)
ROUTES = """
import json, re
from provisioner import django_app
django_app.setup()
from django.urls import get_resolver

def routes(patterns, before=""):
    for entry in patterns:
        here = before + str(entry.pattern).replace("^", "")
        if hasattr(entry, "url_patterns"):
            yield from routes(entry.url_patterns, here)
        else:
            group = r"\\(\\?P<\\w+>[^()]*(\\([^()]*\\)[^()]*)*\\)|<[^>]+>"
            yield "/" + re.sub(group, "1", here).strip("$").replace("\\\\", "")

print("ROUTES" + json.dumps(sorted(set(routes(get_resolver().url_patterns)))))
"""
THIS_MANY = 150


def headers_of(label_studio: LabelStudio, path: str) -> requests.structures.CaseInsensitiveDict[str]:
    return requests.get(label_studio.url + path, timeout=30).headers


def session_of(label_studio: LabelStudio) -> requests.Session:
    session = requests.Session()
    page = session.get(label_studio.url + "/user/login/", timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "email": EMAIL, "password": PASSWORD}
    session.post(label_studio.url + "/user/login/", form, timeout=30)
    return session


def test_a_stranger_is_refused_at_every_path(provisioned: LabelStudio) -> None:
    listed = provisioned.run_program(ROUTES, timeout=120)
    routes = json.loads(listed.split("ROUTES")[1])
    assert len(routes) > THIS_MANY and "/api/projects/1/" in routes and "/data/local-files/" in routes
    opened = []
    with requests.Session() as stranger:
        for path in routes:
            for method in ("GET",) if path.startswith("/admin/") else ("GET", "POST"):
                url = provisioned.url + path
                answer = stranger.request(method, url, timeout=30, allow_redirects=False, json={})
                stranger.cookies.clear()
                to_login = answer.status_code == 302 and "login" in answer.headers["Location"]
                if not (400 <= answer.status_code < 500 or to_login or PUBLIC.match(path)):
                    opened.append(f"{method} {path}: {answer.status_code}")
    assert opened == []


@pytest.mark.parametrize("path", ["/user/login/", "/api/projects", "/static/images/favicon.ico", "/nowhere"])
def test_every_answer_carries_the_headers(provisioned: LabelStudio, path: str) -> None:
    headers = headers_of(provisioned, path)
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_a_page_among_the_images_cannot_act_as_who_opens_it(provisioned: LabelStudio) -> None:
    (provisioned.images / "evil.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>')
    answer = session_of(provisioned).get(
        provisioned.url + "/data/local-files/", params={"d": "images/evil.svg"}, timeout=30
    )
    assert answer.status_code == 200 and "svg" in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_cookies_of_a_login_are_out_of_reach_of_scripts_and_other_sites(provisioned: LabelStudio) -> None:
    cookies = {cookie.name: cookie for cookie in session_of(provisioned).cookies}
    assert cookies[provisioned.cookies.session].has_nonstandard_attr("HttpOnly")
    assert cookies[provisioned.cookies.session].get_nonstandard_attr("SameSite") == "Lax"
    assert cookies[provisioned.cookies.csrf].get_nonstandard_attr("SameSite") == "Lax"


@pytest.mark.parametrize("path", ["/version/", "/version", "/api/version/"])
def test_not_even_the_admin_is_shown_the_secret_key(provisioned: LabelStudio, path: str) -> None:
    shown = session_of(provisioned).get(provisioned.url + path, timeout=30)
    assert shown.status_code == 200 and "label-studio-os-package" in shown.text
    assert provisioned.environment["SECRET_KEY"] not in shown.text and "SECRET_KEY" not in shown.text


def test_nobody_may_have_a_page_fail(provisioned: LabelStudio) -> None:
    assert requests.get(provisioned.url + "/trigger500/", timeout=30).status_code == 404


def test_guessing_a_password_is_slowed_down_at_every_door(fresh: Callable[[], LabelStudio]) -> None:
    """One server for all of them: names that don't exist are counted as those that do."""
    label_studio = fresh().start()
    for door in ("/user/login/", "/user/login", "/admin/login/"):
        name = f"{door.strip('/').replace('/', '.')}{len(door)}@example.org"
        statuses = [guess(label_studio.url, door, name) for _ in range(PER_USER + 3)]
        assert statuses == [200] * PER_USER + [429] * 3, f"{door}, by either of two processes"
    assert "/user/login" not in sign_in(label_studio.url).url, "others come in"
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3", timeout=30)) as database:
        assert database.execute("UPDATE labelloop_attempts SET tried = tried + 1e8").rowcount > 0
        database.commit()
    assert guess(label_studio.url, door, name) == 200, "the clock was ahead, and is right again"


def guess(base: str, door: str, name: str) -> int:
    with requests.Session() as session:
        session.get(base + "/user/login/", timeout=30)
        token = next(cookie.value for cookie in session.cookies if cookie.name.startswith("csrftoken"))
        form = {"csrfmiddlewaretoken": token, "email": name, "username": name}
        return session.post(
            base + door, form | {"password": "guess"}, timeout=30, allow_redirects=False
        ).status_code


def test_who_logs_in_is_not_slowed_down(provisioned: LabelStudio) -> None:
    for _ in range(2 * PER_USER + 2):
        assert "/user/login" not in sign_in(provisioned.url).url
