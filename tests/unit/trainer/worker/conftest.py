"""What tests of the worker share: a pre-labeller and an importer before the fakes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import shapes
from support.fake_studio import FakeStudio

from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker import image_index
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer
from trainer.worker.prelabel import Prelabeller


@pytest.fixture
def prelabeller(
    loop_settings: TrainerSettings, studio: Studio, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> Prelabeller:
    """Stores each portion by itself, however quickly it was predicted."""
    monkeypatch.setattr("trainer.worker.prelabel.STORE_S", 0.0)
    return Prelabeller(
        studio, backend, Registry(loop_settings.models_dir), loop_settings.rounds_dir, backend_wait_s=0.2
    )


@pytest.fixture
def run(prelabeller: Prelabeller, studio: Studio) -> Callable[[], int]:
    return lambda: prelabeller.run(fetch(studio, 1))


@pytest.fixture
def images(home: Path) -> Path:
    return home / "volumes" / "images"


@pytest.fixture
def index(loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch) -> ImageIndex:
    """Takes a file for whole without waiting whether it stands still."""
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    return ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)


@pytest.fixture
def importer(index: ImageIndex, studio: Studio, loop_settings: TrainerSettings) -> Importer:
    return Importer(index, studio, loop_settings.rounds_dir)


@pytest.fixture
def drop(images: Path, fake_studio: FakeStudio) -> Callable[[str], Path]:
    """Puts a picture into volumes/images, where Label Studio's storage sees it too."""

    def put(name: str) -> Path:
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes.picture(1).image.save(path)
        fake_studio.files.append(name)
        return path

    return put
