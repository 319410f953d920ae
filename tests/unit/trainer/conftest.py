"""What tests of the trainer share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_backend import FakeBackend
from support.fake_labelling import LabellingStudio
from support.fake_studio import FakeStudio
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend


@pytest.fixture
def fake_studio() -> Iterator[FakeStudio]:
    """A Label Studio with an empty project 1; its URL is fake_studio.url."""
    fake = FakeStudio()
    fake.add_project()
    with fake.serve() as url:
        fake.url = url
        yield fake


@pytest.fixture
def labelling_studio() -> Iterator[LabellingStudio]:
    """A Label Studio for a simulated person; its URL is labelling_studio.url."""
    fake = LabellingStudio()
    with fake.serve() as url:
        fake.url = url
        yield fake


@pytest.fixture
def fake_backend() -> Iterator[FakeBackend]:
    fake = FakeBackend()
    with fake.serve() as url:
        fake.url = url
        yield fake


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LABELLOOP_HOME, and no setting but it in the environment."""
    for name in TrainerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("LABELLOOP_HOME", str(tmp_path))
    (tmp_path / "volumes" / "images").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Python processes that a test starts import what the test can."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture
def loop_settings(
    home: Path, fake_studio: FakeStudio, fake_backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> TrainerSettings:
    """Settings of a trainer between the two fakes, also in the environment."""
    environment = {
        "LABELSTUDIO_URL": fake_studio.url,
        "MLBACKEND_URL": fake_backend.url,
        "API_TOKEN": "token",
        "BACKEND_PASSWORD": "backend",
        "TRAINER_PASSWORD": "trainer",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return TrainerSettings()


@pytest.fixture
def studio(loop_settings: TrainerSettings) -> Studio:
    return Studio(loop_settings.labelstudio_url, "token")


@pytest.fixture
def backend(loop_settings: TrainerSettings) -> Backend:
    return Backend(loop_settings.mlbackend_url, "backend")


@pytest.fixture
def models(loop_settings: TrainerSettings, tmp_path: Path) -> ProjectModels:
    """Project 1's versions: v0000, in service."""
    found = Registry(loop_settings.models_dir).project(1)
    found.promote(add_version(found, tmp_path / "made"))
    return found


@pytest.fixture
def bench(loop_settings: TrainerSettings, studio: Studio, backend: Backend) -> WorkerBench:
    """A worker for which three new labels are enough, and two to compare versions."""
    enough = {"retrain_every": 3, "holdout_min": 1, "holdout_percent": 50}
    return WorkerBench(loop_settings.model_copy(update=enough), studio, backend)
