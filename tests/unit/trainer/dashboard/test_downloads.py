"""Archives hold what the folders hold; comparisons show what the evaluations say."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message
from support.dashboard import words
from support.dashboard_data import finished_round
from support.fake_studio import FakeStudio

from labelloop.registry import Card
from trainer.dashboard import stored
from trainer.dashboard.downloads import VERSION_FILES
from trainer.dashboard.loop import WatchedLoop


def opened(client: TestClient, path: str) -> zipfile.ZipFile:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="labelloop-1-')
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def test_before_the_first_round(client: TestClient) -> None:
    page = words(client.get("/downloads?project=1").text)
    assert "v0000 : yolox_nano, mAP –" in page
    assert "There is none yet; the first round takes one." in page


def test_a_version_is_its_three_files(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 25, stray=5, champion_stray=30)
    assert 'href="/downloads/v0001.zip?project=1"' in client.get("/downloads").text
    archive = opened(client, "/downloads/v0001.zip?project=1")
    folder = loop.models(1).folder("v0001")
    assert sorted(archive.namelist()) == sorted(f"v0001/{name}" for name in VERSION_FILES)
    for name in VERSION_FILES:
        assert archive.read(f"v0001/{name}") == (folder / name).read_bytes()
    card = Card.model_validate_json(archive.read("v0001/card.json"))
    assert hashlib.sha256(archive.read("v0001/weights.pth")).hexdigest() == card.weights_sha256


@pytest.mark.parametrize("name", ["v0009", "champion", "..%2f..%2fsecret", "v0000%00"])
def test_nothing_else_can_be_had(client: TestClient, name: str) -> None:
    assert client.get(f"/downloads/{name}.zip?project=1").status_code == 404


@pytest.mark.parametrize(
    "format_name, expected",
    [("coco", "val.json"), ("yolo", "data.yaml"), ("voc", "ImageSets/Main/val.txt")],
)
def test_a_dataset_in_each_format(
    client: TestClient, loop: WatchedLoop, format_name: str, expected: str
) -> None:
    finished_round(loop, 10, stray=5, champion_stray=30)
    archive = opened(client, f"/rounds/1/dataset-{format_name}.zip?project=1")
    top = f"labelloop-1-round-1-{format_name}"
    names = archive.namelist()
    assert f"{top}/{expected}" in names
    assert sum(name.endswith(".png") for name in names) == 10
    if format_name == "yolo":
        assert {f"{top}/images/train/", f"{top}/labels/val/"} <= set(names)
    if format_name == "coco":
        snapshot = stored.snapshot(loop.rounds.folder(1))
        assert snapshot is not None
        boxes = sum(
            len(json.loads(archive.read(f"{top}/{side}.json"))["annotations"]) for side in ("train", "val")
        )
        assert boxes == snapshot.boxes
    assert list(loop.settings.rounds_dir.glob(".dataset-*")) == []


def asked(client: TestClient, path: str, gone: asyncio.Event, taken: Callable[[bytes], None]) -> None:
    """Hands each chunk of an answer to `taken`, whose browser closes the connection by `gone`."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # uvicorn's
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookies.encode())],
    }

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            taken(message["body"])
        if gone.is_set():
            await asyncio.sleep(60)

    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]


def left_early(client: TestClient, path: str, chunks: int) -> list[bytes]:
    """What a browser gets that closes the connection after so many chunks."""
    gone, got = asyncio.Event(), []

    def taken(chunk: bytes) -> None:
        got.append(chunk)
        if len(got) >= chunks:
            gone.set()

    if not chunks:
        gone.set()
    asked(client, path, gone, taken)
    return got


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_dataset_that_nobody_takes_to_its_end_leaves_nothing(
    client: TestClient, loop: WatchedLoop, chunks: int
) -> None:
    finished_round(loop, 10, stray=5, champion_stray=30)
    assert len(left_early(client, "/rounds/1/dataset-coco.zip", chunks)) == chunks
    assert list(loop.settings.rounds_dir.glob(".dataset-*")) == []


@pytest.mark.parametrize("change", [{"member": False}, {"administrator": False}])
def test_a_download_under_way_ends_when_who_asked_for_it_may_not_have_it_any_more(
    client: TestClient, app: FastAPI, loop: WatchedLoop, fake_studio: FakeStudio, change: dict[str, bool]
) -> None:
    finished_round(loop, 10, stray=5, champion_stray=30)
    app.state.parts.people.fresh_s = -1.0
    path, whole, got = "/rounds/1/dataset-coco.zip", [], []
    asked(client, path, asyncio.Event(), whole.append)
    assert len(whole) > 10

    def taken(chunk: bytes) -> None:
        got.append(chunk)
        fake_studio.people[1] |= change

    with pytest.raises(RuntimeError, match="response already started"):
        asked(client, path, asyncio.Event(), taken)
    assert len(got) < 5
    assert list(loop.settings.rounds_dir.glob(".dataset-*")) == []


def test_a_dataset_that_is_not_there(client: TestClient, loop: WatchedLoop) -> None:
    assert client.get("/rounds/1/dataset-coco.zip").status_code == 404
    loop.rounds.request(1, "a test")
    assert "has no snapshot" in client.get("/rounds/1/dataset-coco.zip").text
    finished = loop.rounds.cancel(1)
    finished = finished_round(loop, 10, stray=5, champion_stray=30)
    answer = client.get(f"/rounds/{finished.id}/dataset-zip.zip")
    assert answer.status_code == 404 and "choose one of coco, yolo, voc" in words(answer.text)
    assert list(loop.settings.rounds_dir.glob(".dataset-*")) == []
