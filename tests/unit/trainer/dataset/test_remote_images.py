"""Images on other servers: had once, asked for again while they are away, and used from the cache."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from support import shapes
from support.a_project import a_row
from support.image_server import ImageServer

from labelloop import remote_images
from labelloop.files import sha256_file
from labelloop.images import ImageAway, ImageError
from labelloop.remote_images import RemoteImages
from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset import collector, snapshot

GONE_FOR_GOOD = 10_000


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer().serving() as served:
        for number in range(24):
            file = BytesIO()
            shapes.picture(number).image.save(file, "PNG")
            served.files[f"/{number}.png"] = file.getvalue()
        yield served


class Studio24:
    """24 labelled tasks, whose images are on the server."""

    def __init__(self, server: ImageServer) -> None:
        self._server = server

    def project(self, project_id: int) -> dict[str, Any]:
        return a_row(id=project_id, label_config=shapes.LABEL_CONFIG)

    def count_tasks(self, project_id: int, *conditions: object) -> int:
        return 24

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        when = "2026-11-22T18:00:00.000000Z"
        for number in range(24):
            result = shapes.picture(number).annotation()
            annotation = {"id": number, "result": result, "created_at": when, "updated_at": when}
            yield {
                "id": number + 1,
                "data": {"image": f"{self._server.url}/{number}.png?key=secret"},
                "annotations": [annotation],
            }


@pytest.fixture
def settings(tmp_path: Path, server: ImageServer) -> Settings:
    """The server is Label Studio's own: others may not have an address of this host."""
    return Settings(labelloop_home=tmp_path, labelstudio_url=server.url)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none lasts."""
    made: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        made.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(collector.time, "sleep", sleep)
    monkeypatch.setattr(collector.time, "monotonic", lambda: now[0])
    return made


def collected(server: ImageServer, settings: Settings) -> snapshot.Snapshot:
    return snapshot.collect(cast(Studio, Studio24(server)), 1, settings, lambda fraction, text: None)


@pytest.fixture(autouse=True)
def with_keys(server: ImageServer) -> None:
    server.files = {f"{path}?key=secret": content for path, content in server.files.items()}


def test_nine_of_24_that_are_away_for_a_moment_are_in_the_snapshot(
    server: ImageServer, settings: Settings, pauses: list[float]
) -> None:
    for number in range(0, 18, 2):
        server.failing[f"/{number}.png?key=secret"] = 3
    taken = collected(server, settings)
    assert (taken.labelled, taken.skipped) == (24, ())
    assert pauses[:3] == [1.0, 2.0, 4.0] and sum(pauses) < 60
    assert server.answered["/1.png?key=secret"] == [200]
    assert server.answered["/2.png?key=secret"] == [503, 503, 503, 200]


def test_what_stays_away_is_left_out_by_name_after_a_bounded_time(
    server: ImageServer, settings: Settings, pauses: list[float]
) -> None:
    server.failing["/3.png?key=secret"] = GONE_FOR_GOOD
    taken = collected(server, settings)
    (left_out,) = taken.skipped
    assert left_out.task == 4
    assert left_out.url == f"{server.url}/3.png"
    assert left_out.reason == f"{server.url}/3.png: answered 503 Service Unavailable"
    assert taken.labelled == 23
    assert sum(pauses) == collector.PATIENCE_S


def test_a_server_says_when_it_wants_to_be_asked_again(
    server: ImageServer, settings: Settings, pauses: list[float]
) -> None:
    server.status, server.headers = 429, {"Retry-After": "20"}
    server.failing["/3.png?key=secret"] = 1
    assert collected(server, settings).labelled == 24
    assert pauses == [20.0]


def test_what_is_gone_or_refused_is_not_asked_for_again(
    server: ImageServer, settings: Settings, pauses: list[float]
) -> None:
    del server.files["/3.png?key=secret"]
    server.status = 403
    server.failing["/4.png?key=secret"] = GONE_FOR_GOOD
    taken = collected(server, settings)
    assert sorted(row.task for row in taken.skipped) == [4, 5]
    assert pauses == []


def test_a_host_that_is_down_is_not_asked_for_every_image(
    server: ImageServer, settings: Settings, pauses: list[float]
) -> None:
    for path in server.files:
        server.failing[path] = 1
    assert collected(server, settings).labelled == 24
    assert sum(statuses.count(503) for statuses in server.answered.values()) == 24
    asked_first = [path for path, statuses in server.answered.items() if statuses[0] == 503]
    assert len(pauses) > 1 and len(asked_first) == 24


@pytest.mark.parametrize("status", [503, 403])
def test_bytes_that_were_had_before_are_used_while_the_server_is_away(
    server: ImageServer,
    settings: Settings,
    pauses: list[float],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = collected(server, settings)
    monkeypatch.setattr(remote_images, "FRESH_S", 0.0)
    server.status = status
    for path in server.files:
        server.failing[path] = GONE_FOR_GOOD
    after = collected(server, settings)
    assert (after.labelled, after.fingerprint, pauses) == (24, before.fingerprint, [])


def test_nothing_is_fetched_again_that_is_unchanged(
    server: ImageServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(server, settings)
    collected(server, settings)
    assert set(map(tuple, server.answered.values())) == {(200,)}, "within ten minutes no server is asked"
    monkeypatch.setattr(remote_images, "FRESH_S", 0.0)
    file = BytesIO()
    shapes.picture(99).image.save(file, "PNG")
    server.files["/5.png?key=secret"] = file.getvalue()
    collected(server, settings)
    assert server.answered.pop("/5.png?key=secret") == [200, 200]
    assert {tuple(statuses) for statuses in server.answered.values()} == {(200, 304)}
    cached = settings.cache_dir / "images"
    assert len(list(cached.glob("*.png"))) == 25
    noted = [path.read_bytes() for path in cached.glob("had/*/*.json")]
    assert len(noted) == 24 and not any(b"secret" in record for record in noted)


def test_a_file_that_the_cache_has_lost_is_fetched_anew(server: ImageServer, settings: Settings) -> None:
    collected(server, settings)
    digests = {path.stem for path in (settings.cache_dir / "images").glob("*.png")}
    lost, short, *_ = sorted((settings.cache_dir / "images").glob("*.png"))
    lost.unlink()
    short.write_bytes(b"x" * short.stat().st_size)
    assert collected(server, settings).labelled == 24
    answered = sorted(tuple(statuses) for statuses in server.answered.values())
    assert answered.count((200, 200)) == 2 and answered.count((200,)) == 22
    assert {sha256_file(path) for path in (settings.cache_dir / "images").glob("*.png")} == digests


def test_a_page_that_says_sorry_takes_no_images_place(
    server: ImageServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_images, "FRESH_S", 0.0)
    remote = RemoteImages(settings.cache_dir, settings.outside)
    url = f"{server.url}/5.png?key=secret"
    file = remote(url, server.url, None)
    assert isinstance(file, Path)
    image = server.files["/5.png?key=secret"]
    server.files["/5.png?key=secret"] = b"<html>sorry"
    assert remote(url, server.url, None) == b"<html>sorry"
    server.failing["/5.png?key=secret"] = 1
    assert remote(url, server.url, None) == file and file.read_bytes() == image


def test_a_damaged_record_is_made_anew(server: ImageServer, settings: Settings) -> None:
    collected(server, settings)
    for record in (settings.cache_dir / "images").glob("had/*/*.json"):
        record.write_bytes(b'{"file": "../../secrets.png"')
    assert collected(server, settings).labelled == 24
    assert {tuple(statuses) for statuses in server.answered.values()} == {(200, 200)}


def test_what_a_host_refuses_for_good_is_told_from_what_is_away(
    server: ImageServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_images, "FAILURES_IN_A_ROW", 2)
    remote = RemoteImages(settings.cache_dir, settings.outside)
    with pytest.raises(ImageError) as gone:
        remote(f"{server.url}/nowhere.png", server.url, None)
    assert not isinstance(gone.value, ImageAway)
    for _ in range(2):
        with pytest.raises(ImageAway, match="cannot be reached"):
            remote("http://127.0.0.1:9/a.png", "http://127.0.0.1:9", None)
    with pytest.raises(ImageAway, match="has failed 2 times in a row"):
        remote("http://127.0.0.1:9/b.png", "http://127.0.0.1:9", None)
