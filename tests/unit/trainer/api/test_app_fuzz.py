"""The trainer's API under whatever its own schema allows, and forbids."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from support.junk import JUNK

from labelloop.registry import ProjectModels
from trainer.api.app import create_app
from trainer.api.limits import MAX_BODY_BYTES
from trainer.env import TrainerSettings

ME = ("mlbackend", "trainer")
IDS = (
    st.integers() | st.sampled_from([0, -1, 2**63, -(2**63) - 1, 10**30, 10**5000 // 3]) | st.text(max_size=6)
)


@pytest.fixture
def app(loop_settings: TrainerSettings, models: ProjectModels) -> FastAPI:
    return create_app(loop_settings, loop_settings.secret("trainer_password"))


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


@given(data=st.data(), mode=st.sampled_from(list(GenerationMode)), known=st.booleans())
def test_its_own_schema_finds_no_request_that_breaks_it(
    app: FastAPI, client: TestClient, data: st.DataObject, mode: GenerationMode, known: bool
) -> None:
    schema = schemathesis.openapi.from_dict(app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    case = data.draw(data.draw(st.sampled_from(operations)).as_strategy(generation_mode=mode))
    body = case.body if isinstance(case.body, bytes | dict | list | str | int | float | None) else None
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.request(
        case.method,
        case.formatted_path,
        content=content,
        headers={"content-type": case.media_type or "application/json"},
        auth=ME if known else None,
    )
    assert answer.status_code < 500 or "/health" in case.path
    assert known or answer.status_code >= 400 or "/health" in case.path


@given(round_id=IDS, project=IDS, body=JUNK)
def test_no_id_and_no_body_makes_it_stumble(
    client: TestClient, round_id: Any, project: Any, body: Any
) -> None:
    def path(value: Any) -> str:
        return quote(hex(value) if isinstance(value, int) and abs(value) > 10**4000 else str(value), safe="")

    content = json.dumps({"requested_by": body} if round_id else body)
    answers = [
        client.get(f"/rounds/{path(round_id)}", auth=ME),
        client.post(f"/rounds/{path(round_id)}/cancel", auth=ME),
        client.get(f"/projects/{path(project)}/rounds", auth=ME),
        client.post(f"/projects/{path(project)}/rounds", content=content, auth=ME),
        client.post("/projects/1/rounds", content=content, auth=ME),
    ]
    assert all(answer.status_code < 500 for answer in answers), answers


@pytest.mark.parametrize("round_id", [0, -1, 2**63, 10**30])
def test_a_round_that_cannot_be_is_not_there(client: TestClient, round_id: int) -> None:
    answer = client.get(f"/rounds/{round_id}", auth=ME)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no round {round_id}")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"requested_by": NaN}', b'{"requested_by": "\\ud800"}',
     b'{"requested_by": ' + b"1" * 6000 + b"}", b'{"requested_by": null}'],
)  # fmt: skip
def test_what_is_no_request_is_refused(client: TestClient, content: bytes) -> None:
    answer = client.post("/projects/1/rounds", content=content, auth=ME)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


@pytest.mark.parametrize("auth", [ME, None])
def test_a_huge_body_is_refused(client: TestClient, auth: tuple[str, str] | None) -> None:
    body = (b" " * (1 << 16) for _ in range(100))
    answer = client.post("/projects/1/rounds", content=body, auth=auth)
    assert answer.status_code == 413 and f"{MAX_BODY_BYTES:,}" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["[::1", "a b", "", "x/y", "[::1]:99999999", "a:b", "é"])
def test_a_host_that_is_none_is_no_500(client: TestClient, host: str) -> None:
    for path in ("/rounds/1", "/nowhere/", "/health"):
        answer = client.get(path, headers={"Host": host.encode()}, auth=ME)
        assert answer.status_code < 500 or path == "/health"
