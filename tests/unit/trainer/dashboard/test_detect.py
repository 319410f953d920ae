"""POST /detect: with a token of `make token` an image gets boxes; each refusal says what to do."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from support.cli import Run
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from typer.testing import CliRunner

from trainer import cli, env
from trainer.dashboard import detect, detection
from trainer.dashboard.loop import WatchedLoop
from trainer.takeaway.tokens import FILE

BOX = {"label": "ball", "score": 0.8, "x1": 1.0, "y1": 2.0, "x2": 30.5, "y2": 40.0}
FOUND = {"version": "v0000", "width": 64, "height": 48, "boxes": [BOX]}

Send = Callable[..., tuple[int, dict[str, object]]]


@pytest.fixture
def run(loop: WatchedLoop) -> Iterator[Run]:
    """Runs `labelloop …` in this process."""
    env.get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    env.get_settings.cache_clear()


def made(run: Run, name: str = "camera") -> str:
    """A new token."""
    [token] = re.findall(r"^labelloop_\S+$", run("token", "--name", name).output, re.M)
    return str(token)


def png() -> bytes:
    out = BytesIO()
    Image.new("RGB", (64, 48)).save(out, "PNG")
    return out.getvalue()


def post(client: TestClient, token: str, image: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    given = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream", **headers}
    answer = client.post("/detect", content=image, headers=given)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json()


def test_it_is_off_until_there_is_a_token(stranger: TestClient, run: Run, fake_backend: FakeBackend) -> None:
    assert "POST /detect is off" in run("token").output
    status, answer = post(stranger, "labelloop_x", png())
    assert status == 404 and "make token" in str(answer["error"])
    assert not fake_backend.detected


def test_a_token_gets_boxes_for_bytes_and_for_a_form(
    stranger: TestClient, run: Run, fake_backend: FakeBackend
) -> None:
    token = made(run)
    assert post(stranger, token, png()) == (200, FOUND)
    # What curl --data-binary says of itself.
    assert post(stranger, token, png(), **{"Content-Type": "application/x-www-form-urlencoded"}) == (
        200,
        FOUND,
    )
    form = {"image": ("a.png", png(), "image/png")}
    answer = stranger.post("/detect", files=form, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()) == (200, FOUND)
    sent = {(body["project"].split(".")[0], body["label_config"][:6]) for body in fake_backend.detected}
    assert sent == {("1", "<View>")}
    assert "Set-Cookie" not in answer.headers


def test_a_token_is_listed_without_its_secret_and_can_be_revoked(
    stranger: TestClient, run: Run, loop: WatchedLoop
) -> None:
    token = made(run)
    assert "camera has a token already" in " ".join(run("token", "--name", "camera").output.split())
    listed = run("token").output
    assert "camera: project 1" in listed
    for text in (listed, (loop.settings.rounds_dir / FILE).read_text()):
        assert token not in text and token.removeprefix("labelloop_") not in text
    made(run, "other")
    assert run("token", "--revoke", "camera").exit_code == 0
    status, answer = post(stranger, token, png())
    assert status == 401 and "make token" in str(answer["error"])
    assert run("token", "--revoke", "camera").exit_code == 1


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer labelloop_guess", "Basic YTpi", "Bearer \xe9"])
def test_without_a_token_of_ours_nothing_is_read(
    header: str, stranger: TestClient, run: Run, fake_backend: FakeBackend
) -> None:
    made(run)
    answer = stranger.post("/detect", content=png(), headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert not fake_backend.detected


def test_what_is_too_large_is_refused_before_it_is_read(
    stranger: TestClient, run: Run, fake_backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made(run)
    status, answer = post(stranger, token, b"\x89PNG" + bytes(detect.MAX_BYTES))
    assert status == 413 and "at most 20 MiB" in str(answer["error"])

    def pieces() -> Iterator[bytes]:
        """Without a length: only what has come can be counted."""
        for _ in range(detect.MAX_FORM_BYTES // (1 << 20) + 2):
            yield bytes(1 << 20)

    answer_ = stranger.post("/detect", content=pieces(), headers={"Authorization": f"Bearer {token}"})
    assert answer_.status_code == 413 and "at most 20 MiB" in answer_.json()["error"]
    assert not fake_backend.detected


@pytest.mark.parametrize(
    "body, kind", [(b"no image", "application/octet-stream"), (b"", "image/png"), (b"{}", "application/json")]
)
def test_what_is_no_image_is_refused(body: bytes, kind: str, stranger: TestClient, run: Run) -> None:
    status, answer = post(stranger, made(run), body, **{"Content-Type": kind})
    assert status == 415 and "image" in str(answer["error"])


def test_whoever_asks_too_often_waits(
    stranger: TestClient, run: Run, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "PER_MINUTE", 2)
    token, other = made(run), made(run, "other")
    assert [post(stranger, token, png())[0] for _ in range(3)] == [200, 200, 429]
    assert post(stranger, other, png())[0] == 200
    answer = stranger.post("/detect", content=png(), headers={"Authorization": f"Bearer {token}"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_a_backend_that_is_down_is_503_and_so_is_a_crowd(
    stranger: TestClient, run: Run, fake_backend: FakeBackend, app: FastAPI
) -> None:
    token = made(run)
    fake_backend.down = True
    assert post(stranger, token, png())[0] == 503
    fake_backend.down = False
    places = app.state.parts.detection._places
    for _ in range(detection.AT_ONCE):
        assert places.acquire(blocking=False)
    status, answer = post(stranger, token, png())
    assert status == 503 and "send this one again" in str(answer["error"])
    places.release()
    assert post(stranger, token, png()) == (200, FOUND)


def test_it_goes_on_while_label_studio_is_down(
    stranger: TestClient, run: Run, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made(run)
    assert post(stranger, token, png())[0] == 200
    monkeypatch.setattr(detection, "PROJECT_FRESH_S", -1.0)
    fake_studio.down = True
    assert post(stranger, token, png()) == (200, FOUND)


def test_an_image_takes_a_place_before_it_is_read_and_must_arrive(
    stranger: TestClient, run: Run, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else many large images at once, or such as never end, take all the memory."""
    token, read = made(run), []

    async def never(request: object) -> bytes:
        read.append(request)
        await asyncio.sleep(60)
        return b""

    monkeypatch.setattr(detect, "_image", never)
    monkeypatch.setattr(detect, "READ_S", 0.02)
    places = app.state.parts.detection._places
    for _ in range(detection.AT_ONCE - 1):
        assert places.acquire(blocking=False)
    status, answer = post(stranger, token, png())
    assert status == 408 and "did not arrive" in str(answer["error"]) and len(read) == 1
    assert places.acquire(blocking=False), "its place is free again"
    assert post(stranger, token, png())[0] == 503 and len(read) == 1


def test_a_token_is_not_for_another_project_that_got_the_number(
    stranger: TestClient,
    run: Run,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after Label Studio's database was made anew: who has the token would ask a stranger's model."""
    token = made(run)
    assert post(stranger, token, png())[0] == 200
    fake_studio.projects[1] |= {"title": "another", "created_at": "2026-11-24T09:30:00.500000Z"}
    monkeypatch.setattr(detection, "PROJECT_FRESH_S", -1.0)
    status, answer = post(stranger, token, png())
    assert status == 404 and "another one has its number" in str(answer["error"])
    assert len(fake_backend.detected) == 1


def test_a_token_of_a_deleted_project_gets_nothing_any_more(
    stranger: TestClient, run: Run, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made(run)
    assert post(stranger, token, png())[0] == 200
    del fake_studio.projects[1]
    monkeypatch.setattr(detection, "PROJECT_FRESH_S", -1.0)
    status, answer = post(stranger, token, png())
    assert status == 404 and "there is no project 1 any more" in str(answer["error"])


def test_a_token_of_an_earlier_release_goes_on(stranger: TestClient, run: Run, loop: WatchedLoop) -> None:
    token = made(run)
    path = loop.settings.rounds_dir / FILE
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([{key: row[key] for key in row if key != "of"} for row in rows]))
    assert post(stranger, token, png()) == (200, FOUND)
