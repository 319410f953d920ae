"""The cache of other servers' images: bounded by CACHE_GB, without what rounds need, and shared by all."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import shapes
from support.image_server import ImageServer

from labelloop.files import write_text
from labelloop.image_cache import ImageCache
from labelloop.labels import parse_label_config
from labelloop.settings import Settings
from mlbackend.loading import ImageLoader
from trainer.dataset.examine import Examiner, UsedTask
from trainer.env import TrainerSettings
from trainer.health import doctor
from trainer.worker.cached_images import CachedImages


def keep(settings: TrainerSettings, count: int) -> list[Path]:
    """Images of 30 MB, none of which was used lately; the file system stores no zeros."""
    cache = ImageCache(settings.cache_dir)
    files = []
    for number in range(count):
        file = cache.keep(bytes([number]), ".jpg")
        os.truncate(file, 30_000_000)
        long_ago = time.time() - 10_000 + number
        os.utime(file, (long_ago, long_ago))
        files.append(file)
    return files


def name_in(path: Path, files: list[Path]) -> None:
    """Writes a snapshot's list of images."""
    names = ", ".join(f'{{"file_name": "volumes/cache/images/{file.name}"}}' for file in files)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f'{{"info": {{}}, "images": [{names}, {{"file_name": "volumes/images/own.jpg"}}]}}')


@pytest.fixture
def settings(loop_settings: TrainerSettings) -> TrainerSettings:
    return loop_settings.model_copy(update={"cache_gb": 0.1})


def there(files: list[Path]) -> list[int]:
    return [number for number, file in enumerate(files) if file.exists()]


def test_what_rounds_and_versions_need_stays_and_the_rest_is_bounded(settings: TrainerSettings) -> None:
    files = keep(settings, 8)
    name_in(settings.rounds_dir / "00001" / "snapshot.json", files[:1])
    name_in(settings.rounds_dir / "00001" / "since.json", files[1:2])
    name_in(settings.models_dir / "1" / "seen" / "v0001.1" / "snapshot.json", files[2:3])
    CachedImages(settings).tend()
    assert there(files) == [0, 1, 2], "90 MB of 100"


def test_what_no_round_needs_any_more_goes(settings: TrainerSettings) -> None:
    files = keep(settings, 5)
    snapshot = settings.rounds_dir / "00001" / "snapshot.json"
    name_in(snapshot, files)
    keeper = CachedImages(settings)
    keeper.tend()
    assert there(files) == [0, 1, 2, 3, 4]
    snapshot.unlink()
    keeper.tend()
    assert there(files) == [2, 3, 4]


def test_a_damaged_snapshot_stops_nothing(settings: TrainerSettings) -> None:
    files = keep(settings, 4)
    path = settings.rounds_dir / "00001" / "snapshot.json"
    name_in(path, files[:2])
    path.write_text(path.read_text()[:-20])
    CachedImages(settings).tend()
    assert 0 in there(files) and len(there(files)) == 3


def test_the_doctor_says_when_rounds_need_more_than_is_allowed(settings: TrainerSettings) -> None:
    assert list(doctor._image_cache(settings)) == []
    files = keep(settings, 3)
    (found,) = doctor._image_cache(settings)
    assert (found.level, found.text) == ("ok", "3 images of other servers, 0.1 GB of CACHE_GB=0.1")
    files = keep(settings, 50)
    name_in(settings.rounds_dir / "00001" / "snapshot.json", files[:40])
    (found,) = doctor._image_cache(settings)
    assert found.level == "warning"
    assert found.text == (
        "50 images of other servers, 1.5 GB, more than CACHE_GB=0.1: rounds need 1.2 GB of it"
    )
    assert found.command == "make up CACHE_GB=3"


def test_no_list_is_read_while_the_cache_is_within_its_bound(
    settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: CachedImages) -> frozenset[str]:
        raise AssertionError("the lists of a large project take many seconds")

    monkeypatch.setattr(CachedImages, "needed", read)
    assert CachedImages(settings).usage().images == 0
    keep(settings, 3)
    keeper = CachedImages(settings)
    keeper.tend()
    assert keeper.usage().images == 3


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer().serving() as served:
        yield served


def test_backend_and_trainer_fetch_an_image_once_between_them(tmp_path: Path, server: ImageServer) -> None:
    shapes.picture(1).image.save(tmp_path / "1.png")
    server.files["/1.png"] = (tmp_path / "1.png").read_bytes()
    settings = Settings(labelloop_home=tmp_path, labelstudio_url=server.url)
    config = parse_label_config(shapes.LABEL_CONFIG)
    task: dict[str, Any] = {"id": 1, "data": {"image": f"{server.url}/1.png"}}
    for _ in range(2):
        [[read]] = ImageLoader(settings, 1).batches([task], config)
        assert read.pixels is not None and read.error == ""
    annotation = {"result": shapes.picture(1).annotation()}
    used = Examiner(config, settings, ()).examine(task, annotation)
    assert isinstance(used, UsedTask)
    assert (tmp_path / used.image.file).read_bytes() == server.files["/1.png"]
    assert server.answered == {"/1.png": [200]}
