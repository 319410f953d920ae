"""A simulated person between a fake Label Studio and a worker that answers within milliseconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.coco import write_coco
from support.fake_clicks import ClickBackend
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import CONFIG, IMAGES, FakeScorer, MakeRun

from trainer.env import TrainerSettings
from trainer.rounds import heartbeat
from trainer.simulate import run as module
from trainer.simulate.dataset import Dataset
from trainer.simulate.patience import PatientBackend, PatientStudio
from trainer.simulate.run import Run, World
from trainer.terminal import watch
from trainer.terminal.display import Display


@pytest.fixture
def clicks() -> Iterator[ClickBackend]:
    backend = ClickBackend()
    with backend.serve() as backend.url:
        yield backend


@pytest.fixture
def world(
    home: Path, labelling_studio: LabellingStudio, clicks: ClickBackend, monkeypatch: pytest.MonkeyPatch
) -> World:
    for owner, name in ((watch, "POLL_S"), (watch, "COUNT_EVERY_S"), (module, "POLL_S")):
        monkeypatch.setattr(owner, name, 0.01)
    display = Display()
    studio = PatientStudio(labelling_studio.url, "token", display.say)
    return World(TrainerSettings(), studio, PatientBackend(clicks.url, "", display.say), display)


@pytest.fixture
def dataset(world: World) -> Dataset:
    folder = world.settings.uploads_dir / "simulate" / "shapes"
    write_coco(folder, "train", 0, IMAGES)
    write_coco(folder, "test", 10, 2)
    return Dataset.load(folder, {})


@pytest.fixture
def worker(
    world: World, labelling_studio: LabellingStudio, dataset: Dataset, tmp_path: Path
) -> Iterator[FakeWorker]:
    truth = {image.name: image.boxes for image in dataset.train}
    thread = FakeWorker(world, labelling_studio, truth, tmp_path / "made", CONFIG, (320, 240))
    heartbeat.beat(world.settings.rounds_dir, {}, {})
    thread.start()
    yield thread
    thread.stopping.set()
    thread.join(10)


@pytest.fixture
def make_run(world: World, dataset: Dataset, worker: FakeWorker) -> MakeRun:
    return lambda options: Run(world, dataset, FakeScorer(), options, "uncertainty", 0)  # type: ignore[arg-type]
