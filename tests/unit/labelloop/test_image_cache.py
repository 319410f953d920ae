"""The cache of other servers' images: shared by processes, bounded, and never half a file."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest
from PIL import Image
from support.image_server import ImageServer

from labelloop import image_cache, remote_images
from labelloop.download import LEAST_PART
from labelloop.image_cache import ImageCache, key_of
from labelloop.images import ImageAway
from labelloop.outside import Outside
from labelloop.remote_images import RemoteImages


def picture(seed: int, side: int = 20) -> bytes:
    """A PNG that cannot be compressed: about 3 bytes a pixel."""
    file = BytesIO()
    Image.frombytes("RGB", (side, side), Random(seed).randbytes(3 * side * side)).save(file, "PNG")
    return file.getvalue()


LARGE = picture(0, 300)


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer().serving() as served:
        served.files = {f"/{number}.png": picture(number) for number in range(4)}
        served.files["/large.png"] = LARGE
        yield served


@pytest.fixture
def remote(tmp_path: Path) -> RemoteImages:
    return RemoteImages(tmp_path / "cache", Outside())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(remote_images.time, "sleep", made.append)
    return made


def get(remote: RemoteImages, server: ImageServer, path: str) -> Path:
    file = remote(f"{server.url}{path}", server.url, None)
    assert isinstance(file, Path)
    return file


def break_off(server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download of the large image ends after 100,000 bytes, and is not gone on with."""
    monkeypatch.setattr(remote_images, "DEADLINE_S", 0.0)
    server.breaking["/large.png"] = [100_000]
    with pytest.raises(ImageAway):
        get(remote, server, "/large.png")


def test_what_breaks_off_goes_on_where_it_ended(
    server: ImageServer, remote: RemoteImages, pauses: list[float]
) -> None:
    server.breaking["/large.png"] = [100_000, 70_000]
    assert get(remote, server, "/large.png").read_bytes() == LARGE
    assert server.answered["/large.png"] == [200, 206, 206]
    assert server.ranges == ["bytes=100000-", "bytes=170000-"]
    assert pauses == [0.5, 1.0]
    assert list((remote.cache.folder / "parts").iterdir()) == []


def test_another_process_goes_on_where_a_killed_one_was(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_images, "DEADLINE_S", 0.0)
    server.breaking["/large.png"] = [100_000]
    with pytest.raises(ImageAway, match="broke off"):
        get(remote, server, "/large.png")
    other = RemoteImages(remote.cache.folder.parent, Outside())
    assert get(other, server, "/large.png").read_bytes() == LARGE
    assert server.ranges == ["bytes=100000-"]


def test_the_rest_of_another_image_is_not_put_behind_a_part(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(server, remote, monkeypatch)
    server.files["/large.png"] = picture(9, 300)
    assert get(remote, server, "/large.png").read_bytes() == picture(9, 300)
    assert server.answered["/large.png"] == [200, 200]


def test_nor_by_a_server_that_gives_a_part_of_whichever_version(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    server.careless = True
    with monkeypatch.context() as at_once:
        break_off(server, remote, at_once)
    server.files["/large.png"] = picture(9, 300)
    assert get(remote, server, "/large.png").read_bytes() == picture(9, 300)
    assert (server.answered["/large.png"], pauses) == ([200, 206, 200], [0.5])


def test_a_damaged_part_is_begun_anew(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(server, remote, monkeypatch)
    (part,) = (remote.cache.folder / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-1])
    assert get(remote, server, "/large.png").read_bytes() == LARGE
    assert server.answered["/large.png"] == [200, 200]


def test_a_server_that_gives_no_parts_is_asked_for_all_again(
    server: ImageServer, remote: RemoteImages, pauses: list[float]
) -> None:
    server.stamped = False
    server.breaking["/large.png"] = [2 * LEAST_PART]
    assert get(remote, server, "/large.png").read_bytes() == LARGE
    assert (server.answered["/large.png"], pauses) == ([200, 200], [0.5])


def test_a_server_without_stamps_is_asked_once_a_day(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stamped = False
    monkeypatch.setattr(remote_images, "FRESH_S", 0.0)
    get(remote, server, "/1.png")
    get(remote, server, "/1.png")
    assert server.answered["/1.png"] == [200]
    monkeypatch.setattr(remote_images, "UNSTAMPED_S", 0.0)
    get(remote, server, "/1.png")
    assert server.answered["/1.png"] == [200, 200]


def test_many_that_want_one_image_fetch_it_once(server: ImageServer, remote: RemoteImages) -> None:
    together = threading.Barrier(8)
    files: list[Path] = []

    def ask() -> None:
        own = RemoteImages(remote.cache.folder.parent, Outside())
        together.wait(60)
        files.append(get(own, server, "/large.png"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(files) == 8 and len(set(files)) == 1
    assert server.answered["/large.png"] == [200]


def test_one_image_at_two_addresses_is_kept_once(server: ImageServer, remote: RemoteImages) -> None:
    server.files["/copy.png"] = server.files["/1.png"]
    assert get(remote, server, "/1.png") == get(remote, server, "/copy.png")
    assert remote.cache.usage().images == 1


def test_an_image_on_a_full_disk_is_read_all_the_same(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(image_cache, "write_bytes", full)
    assert remote(f"{server.url}/1.png", server.url, None) == server.files["/1.png"]
    remote.cache.folder.rename(remote.cache.folder.with_name("elsewhere"))
    remote.cache.folder.write_text("a file where the folder was")
    assert remote(f"{server.url}/2.png", server.url, None) == server.files["/2.png"]
    assert server.answered == {"/1.png": [200], "/2.png": [200]}


def test_an_image_that_has_not_changed_is_not_fetched_again_on_a_full_disk(
    server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    file = get(remote, server, "/1.png")
    monkeypatch.setattr(remote_images, "FRESH_S", 0.0)
    monkeypatch.setattr(image_cache, "_put", full)
    assert get(remote, server, "/1.png") == file
    assert server.answered["/1.png"] == [200, 304]


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "cache")


def kept(cache: ImageCache, count: int = 10, seconds_ago: float = 10_000.0) -> list[Path]:
    """Images of 1,000 bytes, the first of which was used longest ago."""
    files = [cache.keep(bytes([number]) * 1000, ".png") for number in range(count)]
    for number, file in enumerate(files):
        moment = time.time() - seconds_ago + number
        os.utime(file, (moment, file.stat().st_mtime))
    return files


def there(files: list[Path]) -> list[int]:
    return [number for number, file in enumerate(files) if file.exists()]


def test_what_was_used_longest_ago_goes_first(cache: ImageCache) -> None:
    files = kept(cache)
    cache.keep(bytes([0]) * 1000, ".png")  # used again
    assert cache.cut(6000, frozenset).size == 5000
    assert there(files) == [0, 6, 7, 8, 9]


def test_a_cache_within_its_bound_loses_nothing(cache: ImageCache) -> None:
    files = kept(cache)
    assert cache.cut(10_000, frozenset).images == 10
    assert there(files) == list(range(10))


def test_what_a_round_needs_stays_whatever_the_bound(cache: ImageCache) -> None:
    files = kept(cache)
    left = cache.cut(2000, lambda: {file.name for file in files[:5]})
    assert there(files) == [0, 1, 2, 3, 4] and left.size == 5000


def test_what_was_just_used_stays(cache: ImageCache) -> None:
    files = kept(cache, seconds_ago=100.0)
    cache.cut(2000, frozenset)
    assert there(files) == list(range(10))


def test_what_a_snapshot_under_way_has_used_stays_until_it_ends(
    cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = kept(cache, seconds_ago=10.0)
    monkeypatch.setattr(image_cache, "GRACE_S", 0.0)
    with cache.in_use():
        (user,) = (cache.folder / "users").iterdir()
        began = files[5].stat().st_atime - 0.5
        os.utime(user, (began, began))
        cache.cut(1000, frozenset)
        assert there(files) == [5, 6, 7, 8, 9], "used since it began"
    cache.cut(1000, frozenset)
    assert there(files) == []


def _hold(folder: str, ready: str) -> None:
    with ImageCache(Path(folder)).in_use():
        Path(ready).touch()
        time.sleep(60)


def test_who_is_killed_holds_nothing(
    cache: ImageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = get_context("spawn").Process(
        target=_hold, args=(str(tmp_path / "cache"), str(tmp_path / "ready"))
    )
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    (user,) = (cache.folder / "users").iterdir()
    process.kill()
    process.join(10)
    os.utime(user, (1.0, 1.0))
    files = kept(cache)
    cache.cut(1000, frozenset)
    assert there(files) == [] and not user.exists()


def test_half_a_file_is_never_used(cache: ImageCache) -> None:
    (file,) = kept(cache, 1)
    file.write_bytes(b"half")
    assert cache.keep(bytes(1000), ".png").read_bytes() == bytes(1000)


def test_a_record_leads_to_no_other_file(server: ImageServer, remote: RemoteImages) -> None:
    get(remote, server, "/1.png")
    secret = remote.cache.folder.parent / ("0" * 64)
    secret.write_bytes(b"secret")
    (record,) = remote.cache.folder.glob("had/*/*.json")
    record.write_text(record.read_text().replace('"file": "', '"file": "../'))
    assert remote.cache.find(key_of(f"{server.url}/1.png")) is None


def test_records_of_images_that_left_go_too(server: ImageServer, remote: RemoteImages) -> None:
    file, _ = get(remote, server, "/1.png"), get(remote, server, "/2.png")
    file.unlink()
    remote.cache.sweep()
    assert len(list(remote.cache.folder.glob("had/*/*.json"))) == 1


def test_what_earlier_releases_had_is_not_fetched_again(server: ImageServer, remote: RemoteImages) -> None:
    file = get(remote, server, "/1.png")
    (record,) = remote.cache.folder.glob("had/*/*.json")
    stamp = remote.cache.find(record.stem)
    assert stamp is not None
    record.unlink()
    index = remote.cache.folder / "index.sqlite3"
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute(
            "CREATE TABLE had (url TEXT PRIMARY KEY, file TEXT NOT NULL, size INTEGER NOT NULL, "
            "origin TEXT NOT NULL, etag TEXT NOT NULL, last_modified TEXT NOT NULL) WITHOUT ROWID"
        )
        row = (record.stem, file.name, file.stat().st_size, stamp.stamp.place, stamp.stamp.etag, "")
        connection.execute("INSERT INTO had VALUES (?, ?, ?, ?, ?, ?)", row)
    remote.cache.take_over_former_index()
    assert not index.exists()
    assert get(remote, server, "/1.png") == file
    assert server.answered["/1.png"] == [200, 304]


def test_a_former_index_that_is_damaged_goes(cache: ImageCache) -> None:
    cache.folder.mkdir(parents=True)
    index = cache.folder / "index.sqlite3"
    index.write_bytes(b"no database" * 100)
    cache.take_over_former_index()
    assert not index.exists()


def test_what_was_used_in_the_future_was_used_long_ago(cache: ImageCache) -> None:
    """The clock was ahead then. Until that time the cache would only grow."""
    files = kept(cache)
    for file in files[5:]:
        os.utime(file, (time.time() + 1e8, file.stat().st_mtime))
    assert cache.cut(6000, frozenset).size == 5000
    assert there(files) == list(range(5))


def test_who_began_in_the_future_and_is_still_at_it_loses_nothing(cache: ImageCache) -> None:
    files = kept(cache)
    with cache.in_use():
        (user,) = (cache.folder / "users").iterdir()
        for path in (user, *files):
            os.utime(path, (time.time() + 1e8, time.time() + 1e8))
        cache.cut(2000, frozenset)
        assert there(files) == list(range(10))
    cache.cut(2000, frozenset)
    assert len(there(files)) == 1


def test_parts_of_the_future_go(
    server: ImageServer, remote: RemoteImages, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(server, remote, monkeypatch)
    (part,) = (remote.cache.folder / "parts").iterdir()
    remote.cache.sweep()
    assert part.exists()
    os.utime(part, (time.time() + 1e8, time.time() + 1e8))
    remote.cache.sweep()
    assert not part.exists()
