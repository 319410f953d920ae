"""The backend under mutations of the requests that Label Studio really sends."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_home import LABEL_CONFIG, Home
from support.junk import JUNK, mutated

from mlbackend import loading

TASK = {
    "id": 100, "data": {"image": "/data/local-files/?d=images/gone.png"}, "meta": {},
    "created_at": "2026-11-22T18:00:00.000000Z", "is_labeled": False, "overlap": 1, "inner_id": 1,
    "project": 1, "file_upload": None, "annotations": [], "predictions": [],
}  # fmt: skip
REQUESTS: dict[str, dict[str, Any]] = {
    "/predict": {"tasks": [TASK, TASK], "project": "1.1699999999", "label_config": LABEL_CONFIG,
                 "model_version": "v0000", "params": {"login": None, "password": None, "context": None}},
    "/setup": {"project": "1.1699999999", "schema": LABEL_CONFIG, "hostname": "http://labelstudio:8080",
               "access_token": "k" * 40, "extra_params": None},
    "/webhook": {"action": "START_TRAINING", "project": {"id": 1, "title": "t"}},
    "/train": {"project": "1.1699999999", "params": {}},
    "/versions": {"project": "1.1699999999"},
}  # fmt: skip


@given(path=st.sampled_from(sorted(REQUESTS)), data=st.data())
def test_no_mutation_of_a_real_request_is_an_error_of_ours(
    home: Home, path: str, data: st.DataObject
) -> None:
    body = data.draw(mutated(REQUESTS[path]))
    answer = home.client.post(path, data=json.dumps(body), content_type="application/json")
    # 503: the trainer is not there, or project 2**63 has no model.
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400:
        assert answer.json["error"] and answer.status.isprintable()
    elif path == "/predict":
        assert len(answer.json["results"]) == len(body["tasks"])
        json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@given(project=JUNK)
def test_no_project_of_a_query_makes_it_stumble(home: Home, project: Any) -> None:
    text = str(project).encode("utf-8", "replace").decode()
    for path in ("/versions", "/is_training"):
        assert home.client.get(path, query_string={"project": text}).status_code in (200, 400, 503)


@pytest.mark.parametrize(
    ("schema", "words"),
    [('<View a="\ud800"/>', "half of a character (a surrogate)"), ("<View>" * 50_000, "not well-formed"),
     (LABEL_CONFIG + " " * (2 << 20), "characters")],
)  # fmt: skip
def test_hostile_label_configs_are_bad_requests(home: Home, schema: str, words: str) -> None:
    answer = home.client.post("/setup", json={**REQUESTS["/setup"], "schema": schema})
    assert answer.status_code == 400 and words in answer.json["error"]


def test_ten_thousand_tasks_are_ten_thousand_results(home: Home) -> None:
    body = {**REQUESTS["/predict"], "tasks": [{**TASK, "id": number} for number in range(10_000)]}
    answer = home.client.post("/predict", json=body)
    assert answer.status_code == 200 and len(answer.json["results"]) == 10_000
    assert len(home.project_health()["unreadable"]) == 50


def test_what_health_says_of_a_task_is_short(home: Home) -> None:
    tasks = [{"id": "x" * 100_000, "data": {"image": "/data/local-files/?d=" + "y" * 100_000}}]
    home.client.post("/predict", json={**REQUESTS["/predict"], "tasks": tasks})
    assert len(json.dumps(home.project_health()["unreadable"])) < 1000


def test_the_time_that_the_model_takes_is_no_time_for_finding_images(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.setup()
    monkeypatch.setattr(loading, "DOWNLOADS_BUDGET_S", 1.0)
    url = home.add_image("a.png")
    home.results(url)
    home.detector.pause_s = 0.4
    assert all("error" not in result for result in home.results(*[url] * 48))
