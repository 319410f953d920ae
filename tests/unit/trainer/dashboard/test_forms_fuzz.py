"""The dashboard's pages and forms under values that no browser sends."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support.dashboard import csrf, log_in
from support.dashboard_pages import guarded, with_gaps

ODD = st.sampled_from(
    ["", "0", "-1", str(10**30), "1" * 5000, "../../x", "..%2f..%2fx", "\0", "v0000/../v0000", "NaN", "1e999",
     "<script>", "\ud800", "x" * 9000, "v٠٠٠٠"]
) | st.text(max_size=12)  # fmt: skip
PAIRS = ["/model/threshold?version={}&score={}", "/compare?left={}&right={}"]
GETS = [*with_gaps("GET"), *PAIRS, "/static/{}", "/{}"]
POSTS = [path for path in (*with_gaps("POST"), *guarded("POST")) if path != "/logout"]


@pytest.fixture
def browser(app: FastAPI) -> Any:
    """Logged in, and shown the 500 that a broken route gives."""
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        assert log_in(client) == 303
        yield client


def filled(path: str, values: list[str]) -> str:
    parts = path.split("{}")
    words = [quote(value.encode("utf-8", "surrogatepass"), safe="") for value in values]
    return "".join(part + word for part, word in zip(parts, [*words, "", ""], strict=False))


@examples(max_examples=200)
@given(path=st.sampled_from(GETS), values=st.tuples(ODD, ODD))
def test_no_address_makes_a_page_stumble(browser: TestClient, path: str, values: tuple[str, str]) -> None:
    found = list(values[: path.count("{}")])
    assert browser.get(filled(path, found)).status_code < 500


@given(
    path=st.sampled_from(POSTS),
    value=ODD,
    fields=st.dictionaries(
        st.sampled_from(["version", "email", "password", "next", "csrf", "x"]), ODD, max_size=4
    ),
    honest=st.booleans(),
)
def test_no_form_makes_a_button_stumble(
    browser: TestClient, path: str, value: str, fields: dict[str, str], honest: bool
) -> None:
    token = {"csrf": csrf(browser, "/do/retrain")} if honest else {}
    pairs = {name: text.encode("utf-8", "surrogatepass") for name, text in {**fields, **token}.items()}
    answer = browser.post(
        filled(path, [value]),
        content=urlencode(pairs),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code < 500
    assert len(answer.headers.get("set-cookie", "")) < 4096


@pytest.mark.parametrize("version", ["../../x", "\0", "v0000/../v0000", "x" * 9000, "", "v9999"])
def test_rolling_back_to_what_is_no_version_says_so(browser: TestClient, version: str) -> None:
    form = {"csrf": csrf(browser, "/do/rollback"), "version": version}
    assert browser.post("/do/rollback", data=form).status_code == 303
    page = browser.get("/?project=1").text
    assert "v0000" in page and ("no version" in page or "cannot be read" in page)


@pytest.mark.parametrize("host", ["[::1", "a b", "x/y", "a:b"])
def test_a_host_that_is_none_is_a_bad_request(browser: TestClient, host: str) -> None:
    for path in ("/", "/nowhere", "/live"):
        assert browser.get(path, headers={"Host": host}).status_code == 400


def test_a_body_without_end_is_refused(browser: TestClient) -> None:
    for path in ("/login", "/do/retrain"):
        answer = browser.post(path, content=(b"x" * 65536 for _ in range(100)))
        assert answer.status_code == 413
