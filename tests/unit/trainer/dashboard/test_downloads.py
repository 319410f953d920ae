"""Archives hold what the folders hold; comparisons show what the evaluations say."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message
from support import shapes
from support.dashboard import csrf, words
from support.dashboard_data import finished_round
from support.fake_studio import FakeStudio
from support.labelled_tasks import label, region, submit
from support.memory import grown_mib

from labelloop.locks import holding
from labelloop.registry import Card
from trainer.dashboard import current_labels, stored
from trainer.dashboard.downloads import VERSION_FILES
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset import snapshot as snapshot_module
from trainer.dataset.collector import Collector
from trainer.dataset.export import FORMATS, export
from trainer.dataset.snapshot import snapshotting
from trainer.judging.standing import Pair


def opened(client: TestClient, path: str) -> zipfile.ZipFile:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="labelloop-1-')
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def test_before_the_first_round(client: TestClient) -> None:
    page = words(client.get("/downloads?project=1").text)
    assert "v0000 : yolox_nano, made" in page  # nothing scored it
    assert "There is none yet; the first round takes one." in page


def test_a_version_is_its_three_files(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 25, stray=5, champion_stray=30)
    page = client.get("/downloads").text
    assert 'href="/downloads/v0001.zip?project=1"' in page
    promotion = Pair.of(loop.models(1).card("v0001"))
    assert f"v0001 : yolox_nano, mAP at its promotion {promotion}, made" in words(page)  # as on Rounds
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


@pytest.fixture
def labelled(loop: WatchedLoop, fake_studio: FakeStudio) -> WatchedLoop:
    """Eight labelled images, of which one cannot be used; no round yet."""
    images = loop.settings.images_dir
    for _ in range(7):
        label(fake_studio, images)
    label(fake_studio, images, region(from_name="box"))
    return loop


def read_labels(client: TestClient, app: FastAPI) -> str:
    """Presses the button and waits until the labels are read; the page that follows."""
    token = csrf(client, "/downloads")
    answer = client.post("/downloads/labels?project=1", data={"csrf": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/downloads?project=1")
    assert app.state.parts.current_labels.wait(30)
    return unescape(words(client.get("/downloads?project=1").text))


def test_the_labels_as_they_are_now_before_any_round(
    client: TestClient, app: FastAPI, labelled: WatchedLoop
) -> None:
    page = read_labels(client, app)
    boxes = sum(len(shapes.picture(number).annotation()) for number in range(1, 8))
    assert f"UTC: 7 images, {boxes} boxes." in page
    assert "Left out: 1 labelled image" in page
    assert "1 × annotations that could not be understood" in page
    assert "Task 8 : region r: made by 'box'" in page
    html = client.get("/downloads?project=1").text
    for name in FORMATS:
        for ending in ("", "&amp;images=0"):
            assert f'href="/downloads/labels/{name}.zip?project=1{ending}"' in html


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_of_them_is_what_make_export_writes(
    client: TestClient, app: FastAPI, labelled: WatchedLoop, name: str, tmp_path: Path
) -> None:
    """File by file and byte by byte, but for the moment in COCO's info."""
    read_labels(client, app)
    archive = opened(client, f"/downloads/labels/{name}.zip?project=1")
    snapshot = snapshot_module.collect(labelled.studio, 1, labelled.settings, lambda share, text: None)
    written = export(snapshot, name, tmp_path / "out", labelled.settings)
    top = archive.namelist()[0].partition("/")[0]
    ours = {file.removeprefix(f"{top}/"): archive.read(file) for file in archive.namelist()}
    theirs = {
        f"{path.relative_to(written)}/" if path.is_dir() else str(path.relative_to(written)): path
        for path in written.rglob("*")
    }
    files = {file for file in ours if not file.endswith("/")}
    assert files == {file for file in theirs if not file.endswith("/")}
    assert {file for file in ours if file.endswith("/")} <= theirs.keys()
    for file in files:
        expected = theirs[file].read_bytes()
        if file.endswith(".json") and name == "coco":
            assert {**json.loads(ours[file]), "info": 0} == {**json.loads(expected), "info": 0}
        else:
            assert ours[file] == expected, file
    assert ours["skipped.txt"].startswith(b"task 8: region r: made by 'box'")


@pytest.mark.parametrize("name", FORMATS)
def test_without_images_the_labels_are_the_same_and_a_list_says_which_file_is_which(
    client: TestClient, app: FastAPI, labelled: WatchedLoop, name: str
) -> None:
    read_labels(client, app)
    whole = opened(client, f"/downloads/labels/{name}.zip?project=1")
    bare = opened(client, f"/downloads/labels/{name}.zip?project=1&images=0")

    def files(archive: zipfile.ZipFile) -> dict[str, bytes]:
        names = [file for file in archive.namelist() if not file.endswith("/")]
        return {file.partition("/")[2]: archive.read(file) for file in names}

    with_images, without = files(whole), files(bare)
    listed = without.pop("images.tsv").decode().splitlines()
    images = {file for file in with_images if file.endswith(".png")}
    assert len(images) == 7 and without.keys() == with_images.keys() - images
    assert listed[0] == "name\ttask\tfile\tsha256" and len(listed) == 8
    found = {row.split("\t")[0]: row.split("\t")[2:] for row in listed[1:]}
    assert found.keys() == images
    for file, (original, digest) in found.items():
        assert hashlib.sha256(with_images[file]).hexdigest() == digest
        assert original.startswith("volumes/images/")


def test_the_page_says_what_was_changed_since_and_reads_anew(
    client: TestClient, app: FastAPI, labelled: WatchedLoop, fake_studio: FakeStudio
) -> None:
    assert "changed since" not in read_labels(client, app)
    submit(fake_studio, 8, region())
    app.state.parts.current_labels._changed.clear()
    assert "1 labelled image changed since." in words(client.get("/downloads?project=1").text)
    page = read_labels(client, app)
    assert "8 images" in page and "Nothing submitted is left out." in page and "changed since" not in page


def test_no_round_waits_while_labels_are_read_and_the_page_shows_how_far_it_is(
    client: TestClient, app: FastAPI, labelled: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    read = Collector.add

    def while_a_round_takes_its_snapshot(collector: Any, task: Any) -> None:
        with snapshotting(labelled.settings.rounds_dir, wait_s=0.0):
            seen.append(words(client.get("/downloads/labels?project=1").text))
        read(collector, task)

    monkeypatch.setattr(Collector, "add", while_a_round_takes_its_snapshot)
    assert "7 images" in read_labels(client, app)
    assert len(seen) == 8 and "Reading the labels: image 7 of 8." in seen[-1]


def test_labels_that_cannot_be_read_are_told_in_words(
    client: TestClient, app: FastAPI, loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "label at least one and submit it" in read_labels(client, app)
    monkeypatch.setattr(snapshot_module, "WAIT_S", 0.0)
    with holding(loop.settings.rounds_dir / "snapshot.lock"):
        assert current_labels.BUSY in read_labels(client, app)


def test_before_they_are_read_there_is_nothing_to_download(client: TestClient) -> None:
    answer = client.get("/downloads/labels/coco.zip?project=1")
    assert answer.status_code == 404 and "the labels were not read yet" in words(answer.text)


def test_each_format_is_told_what_it_is_for(client: TestClient, app: FastAPI, labelled: WatchedLoop) -> None:
    page = read_labels(client, app)
    for name in ("COCO", "YOLO", "Pascal VOC"):
        assert f"{name} , or without images : for " in page
    assert page.count(", or without images : for ") == len(FORMATS)


def test_an_archive_takes_no_more_memory_for_more_images() -> None:
    setup = """
from pathlib import Path
from trainer.dashboard.archive import _zipped
from trainer.dataset.exported_images import ExportedFile
"""
    code = """
files = (ExportedFile(f"images/{n}.png", (bytes(1 << 20) for _ in range(1)), True) for n in range(100))
sent = sum(map(len, _zipped(files)))
assert sent > 100 << 20
"""
    assert grown_mib(setup, code) < 48
