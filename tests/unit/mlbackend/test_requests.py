"""Who may ask, and what a request that is wrong gets to hear."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.backend_home import LABEL_CONFIG, Home
from support.elsewhere import Elsewhere

from labelloop.settings import MissingSecret
from mlbackend.app import create_app

ROUTES = [
    ("GET", "/"), ("POST", "/predict"), ("POST", "/setup"), ("POST", "/train"), ("POST", "/webhook"),
    ("GET", "/is_training"), ("GET", "/versions"), ("POST", "/versions"), ("GET", "/metrics"),
    ("GET", "/static/x"), ("GET", "/nowhere"), ("POST", "/health"),
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "credentials", [None, ("labelstudio", "wrong"), ("admin", "a long secret"), ("labelstudio", "")]
)
def test_everything_but_health_wants_credentials(
    home: Home, method: str, path: str, credentials: tuple[str, str] | None
) -> None:
    client = home.client.application.test_client()
    answer = client.open(path, method=method, auth=credentials, json={} if method == "POST" else None)
    assert answer.status_code == 401
    assert "error" in (answer.json or {})
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    "header", ["Bearer x", "Basic", "Basic !!", "Basic Zm9v", "Digest username=labelstudio", "Basic w6k6w6k="]
)
def test_odd_credentials_are_refused(home: Home, header: str) -> None:
    client = home.client.application.test_client()
    assert client.get("/metrics", headers={"Authorization": header}).status_code == 401


def test_health_is_open_and_holds_no_secret(home: Home) -> None:
    home.setup()
    home.results("http://user:pw@[::1]/a.jpg?X-Amz-Signature=s3cret")
    answer = home.client.application.test_client().get("/health")
    assert answer.status_code == 200
    for secret in ("a long secret", "another secret", "s3cret", "pw@", '"token"'):
        assert secret not in answer.text


def test_it_refuses_to_start_without_a_password(home: Home) -> None:
    settings = home.settings.model_copy(update={"backend_password": None})
    with pytest.raises(MissingSecret, match="BACKEND_PASSWORD"):
        create_app(settings, home.load)


def test_webhooks_without_credentials_do_not_fill_the_log(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    home.setup()
    caplog.clear()
    client = home.client.application.test_client()
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 401
    assert caplog.text == ""


def test_the_log_holds_no_token_even_at_debug(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"project": "1.1", "schema": LABEL_CONFIG, "hostname": "", "access_token": "t0ken-of-the-user"}
    home.client.post("/setup", json=body)
    home.results(home.add_image("a.png"))
    assert "t0ken-of-the-user" not in caplog.text
    assert "Authorization" not in caplog.text


def test_what_setup_hands_over_changes_neither_whom_label_studio_is_nor_the_token(tmp_path: Path) -> None:
    with Elsewhere() as elsewhere, Elsewhere("/gone") as studio:
        home = Home.below(tmp_path, labelstudio_url=studio.url, api_token="api-t0ken")
        home.add_version()
        foreign = elsewhere.url
        body = {
            "project": "1.1699999999",
            "schema": LABEL_CONFIG,
            "hostname": foreign,
            "access_token": "theirs",
        }
        assert home.client.post("/setup", json=body).status_code == 200
        home.results("/data/a.jpg", "data/a.jpg", f"{foreign}/data/a.jpg")
        home.stop.set()
    assert studio.credentials and studio.credentials <= {"Token api-t0ken", None}
    assert "Token api-t0ken" in studio.credentials
    assert elsewhere.asked == []  # 127.0.0.1 is nobody's image server


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/predict", [], "a list"),
        ("/predict", {}, "project"),
        ("/predict", {"project": "abc", "tasks": []}, "'abc'"),
        ("/predict", {"project": True, "tasks": []}, "project"),
        ("/predict", {"project": "1.1"}, "tasks"),
        ("/predict", {"project": "1.1", "tasks": {}}, "tasks"),
        ("/predict", {"project": "1.1", "tasks": [5]}, "tasks[0]"),
        ("/predict", {"project": "1.1", "tasks": [{"id": 1}]}, "tasks[0]"),
        ("/predict", {"project": "1.1", "tasks": [{"data": []}]}, "tasks[0]"),
        ("/predict", {"project": "1.1", "tasks": [], "label_config": 5}, "label_config"),
        ("/predict", {"project": "1.1", "tasks": [], "label_config": "<View>"}, "well-formed"),
        ("/predict", {"project": "1.1", "tasks": [], "label_config": "<View/>"}, "RectangleLabels"),
        ("/predict", {"project": "1.1", "tasks": [], "params": "x"}, "params"),
        ("/setup", {"project": "1.1"}, "schema"),
        ("/setup", {"project": "1.1", "schema": "<View/>"}, "RectangleLabels"),
        ("/setup", {"project": "1.1", "schema": '<!DOCTYPE x [<!ENTITY a "b">]><View/>'}, "document type"),
        ("/webhook", {}, "action"),
        ("/webhook", {"action": 3}, "action"),
        ("/webhook", {"action": "START_TRAINING"}, "project"),
        ("/train", {}, "project"),
        ("/versions", {"project": "x"}, "project"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_what_is_wrong(home: Home, path: str, body: Any, words: str) -> None:
    answer = home.client.post(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json["error"]
    assert answer.json["error"][:100] in answer.status


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"a":', b"[" * 100_000])
def test_what_is_not_json_is_refused(home: Home, data: bytes) -> None:
    answer = home.client.post("/predict", data=data, content_type="application/json")
    assert answer.status_code == 400
    assert "error" in answer.json


def test_another_content_type_is_refused(home: Home) -> None:
    assert home.client.post("/predict", data="x", content_type="text/plain").status_code == 415


def test_body_size_is_limited(home: Home) -> None:
    home.client.application.config["MAX_CONTENT_LENGTH"] = 1000
    answer = home.client.post("/predict", data=b" " * 2000, content_type="application/json")
    assert answer.status_code == 413
    assert "fewer tasks" in answer.json["error"]


def test_unknown_paths_and_methods_answer_in_json(home: Home) -> None:
    assert home.client.get("/nowhere").json["error"]
    assert home.client.get("/predict").status_code == 405


@given(body=JSON, path=st.sampled_from(["/predict", "/setup", "/webhook", "/train", "/versions"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_makes_it_stumble(home: Home, body: Any, path: str) -> None:
    answer = home.client.post(path, json=body)
    assert answer.status_code < 500


@given(
    tasks=st.lists(
        st.fixed_dictionaries({"id": JSON, "data": st.dictionaries(st.just("image"), JSON)}), max_size=4
    ),
    params=st.dictionaries(
        st.sampled_from(["tasks", "project", "self", "context"]) | st.text(max_size=6), JSON
    ),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_task_costs_another_its_result(home: Home, tasks: list[Any], params: dict[str, Any]) -> None:
    body = {"tasks": tasks, "project": "1.1", "label_config": LABEL_CONFIG, "params": params}
    answer = home.client.post("/predict", json=body)
    assert answer.status_code == 200
    assert len(answer.json["results"]) == len(tasks)


def test_importing_the_app_does_not_load_mmdet() -> None:
    code = "import sys, mlbackend.app; sys.exit('mmdet' in sys.modules or 'mmcv' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
