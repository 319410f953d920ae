"""How closely a round's model looks at images: chosen by the boxes, trained so, and served so."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcv import Config
from mmdet.apis import train_detector
from support.fake_learning import made_snapshot
from support.small_rounds import SIDE, SmallRounds
from support.snapshot_images import image
from support.versions import add_version

from labelloop.detector import Detector, DetectorError, load_detector_config
from labelloop.registry import ProjectModels
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.env import TrainerSettings
from trainer.system.memory import usable_gb
from trainer.training import bundle, learn, plan, weights
from trainer.training.job import Job
from trainer.training.length import reference_iterations
from trainer.training.plan import write_job
from trainer.training.working_size import choose, looks, take_look

CONFIGS = Path(__file__).parents[4] / "configs"
SETTINGS = Settings(labelloop_home=CONFIGS.parent)


def nano() -> Config:
    return load_detector_config("yolox_nano", SETTINGS)


def of_sizes(*sides: Sequence[float]) -> list[SnapshotImage]:
    """An image of 1000 px for each list; its boxes are squares of these sides, labelled 0, 1, …"""
    return [
        replace(
            image(number),
            width=1000,
            height=800,
            xyxy=tuple((0.0, 0.0, side, side) for side in row),
            labels=tuple(range(len(row))),
        )
        for number, row in enumerate(sides, 1)
    ]


@pytest.mark.parametrize(
    ("images", "look"),
    [
        (of_sizes(*[[400.0]] * 6), 352),
        (of_sizes(*[[92.0]] * 6), 352),
        (of_sizes(*[[90.0]] * 6), 448),
        (of_sizes(*[[20.0]] * 6), 448),
        (of_sizes(*[[400.0, 60.0]] * 6), 448),
        (of_sizes(*[[400.0]] * 4, [400.0, 60.0]), 352),
        (of_sizes([60.0]), 448),
        (of_sizes([]), 352),
        ([], 352),
    ],
    ids=[
        "large",
        "32 px and more",
        "less",
        "small at every look",
        "one label's are small",
        "a label that is seen once",
        "a single box",
        "no box",
        "no image",
    ],
)
def test_the_smallest_labels_typical_box_decides(images: list[SnapshotImage], look: int) -> None:
    assert choose(images, nano()) == look


@pytest.mark.parametrize(
    ("side", "before", "look"),
    [(95.0, None, 352), (95.0, 352, 352), (95.0, 448, 448), (110.0, 448, 352), (95.0, 999, 352)],
)
def test_a_close_look_stays_while_boxes_are_hardly_larger(side: float, before: int | None, look: int) -> None:
    assert choose(of_sizes(*[[side]] * 6), nano(), before) == look


def test_junk_boxes_have_no_say() -> None:
    specks = replace(of_sizes([400.0, 2.0])[0], labels=(0, 0))
    assert choose([specks], nano()) == 352


def test_a_detector_without_closer_looks_has_one() -> None:
    config = load_detector_config("yolox_s", SETTINGS)
    assert looks(config) == [None] == [choose(of_sizes([5.0]), config)]
    take_look(config, None)
    assert config.loop.train_size == 640


def test_a_look_changes_sizes_and_length_together() -> None:
    config = nano()
    take_look(config, 448)
    assert (config.loop.train_size, config.loop.test_size, config.loop.iterations) == (512, 448, 144)
    assert (tuple(config.model.input_size), tuple(config.model.random_size_range)) == ((512, 512), (10, 16))
    assert config.model.backbone.type == "CSPDarknet", "the rest of the model stays"
    assert reference_iterations("yolox_nano", SETTINGS, 448) == 144
    assert reference_iterations("yolox_nano", SETTINGS) == 220


def test_a_look_that_is_gone_is_named_with_the_way_out() -> None:
    with pytest.raises(DetectorError, match=r"at 500 px, and .* has 352, 448.*make retrain"):
        take_look(nano(), 500)


@pytest.fixture
def nano_home(
    loop_settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainerSettings:
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    (tmp_path / "configs").symlink_to(CONFIGS)
    return loop_settings


@pytest.mark.parametrize(
    ("side", "memory_gb", "look", "iterations"),
    [(400.0, 64.0, 352, 147), (20.0, 64.0, 448, 96), (20.0, 2.8, 352, 147), (400.0, 2.8, 352, 147)],
)
def test_a_rounds_job_has_the_look_of_its_boxes(
    side: float,
    memory_gb: float,
    look: int,
    iterations: int,
    nano_home: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(plan, "usable_gb", lambda: memory_gb)
    folder = tmp_path / "round"
    folder.mkdir()
    images = LabelledImages(of_sizes(*[[side]] * 6))
    job = write_job(folder, nano_home, 1, replace(made_snapshot(), images=images))
    assert (job.look, job.iterations) == (look, iterations)
    assert job.small_objects is not None and job.small_objects.look == look
    told = "would look at images at 448 px, but looks at 352 px" in caplog.text
    assert told == (side == 20.0 and memory_gb < 3)
    assert Job.load(folder) == job


def test_a_job_of_an_earlier_release_has_the_detectors_own_look(
    nano_home: TrainerSettings, models: ProjectModels, tmp_path: Path
) -> None:
    folder = tmp_path / "round"
    folder.mkdir()
    write_job(folder, nano_home, 1, made_snapshot())
    old = json.loads((folder / "job.json").read_bytes())
    del old["look"]
    (folder / "job.json").write_text(json.dumps(old))
    assert Job.load(folder).look is None


@pytest.mark.parametrize(
    ("before", "side", "look", "goes_on"),
    [
        (352, 95.0, 352, True),
        (448, 95.0, 448, True),
        (None, 95.0, 352, True),
        (448, 20.0, 448, True),
        (352, 20.0, 448, False),
        (None, 20.0, 448, False),
        (448, 400.0, 352, False),
    ],
)
def test_training_goes_on_from_a_version_that_looked_as_closely_else_it_begins_anew(
    before: int | None,
    side: float,
    look: int,
    goes_on: bool,
    nano_home: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    """95 px are between what is enough and KEPT_UP_TO times that. Earlier releases named no look."""
    version = add_version(models, tmp_path / "made", round_id=1, look=before)
    models.promote(version)
    folder = tmp_path / "round"
    folder.mkdir()
    images = LabelledImages(of_sizes(*[[side]] * 6))
    job = write_job(folder, nano_home, 1, replace(made_snapshot(), images=images))
    assert (job.parent, job.look) == (version if goes_on else None, look)
    assert job.start.startswith(version if goes_on else "v0000 (")


def test_training_goes_on_where_there_is_nothing_to_begin_from(
    nano_home: TrainerSettings, models: ProjectModels, tmp_path: Path
) -> None:
    card = models.folder("v0000") / "card.json"
    card.write_text(card.read_text().replace("yolox_nano", "yolox_tiny"))
    version = add_version(models, tmp_path / "made", round_id=1)
    models.promote(version)
    folder = tmp_path / "round"
    folder.mkdir()
    images = LabelledImages(of_sizes(*[[20.0]] * 6))
    job = write_job(folder, nano_home, 1, replace(made_snapshot(), images=images))
    assert (job.parent, job.look) == (version, 448)


def test_a_version_is_trained_and_served_at_its_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real training of six iterations; what serves the version reads its own config alone."""
    small = SmallRounds.below(tmp_path, "yolox")
    path = small.settings.configs_dir / "detectors" / "yolox.py"
    model = dict(input_size=(2 * SIDE, 2 * SIDE), random_size_range=(4, 4))
    closer = dict(train_size=2 * SIDE, test_size=2 * SIDE, model=model)
    path.write_text(path.read_text() + f"\nloop.update(closer=[{closer!r}])\n")
    seen: list[int] = []
    inner = train_detector

    def watched(model: Any, *rest: Any, **more: Any) -> None:
        model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
        inner(model, *rest, **more)

    monkeypatch.setattr(learn, "train_detector", watched)
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none")
    labels = ["ball", "crate"]
    start = small.weights(tmp_path / "start.pth", labels)
    folder = small.round("1", small.snapshot(), start, labels, look=2 * SIDE)
    learn.learn(folder, small.settings)
    assert seen[0] == 2 * SIDE
    path.unlink()
    served = Detector.load(folder / "candidate", "cpu")
    prepared = served.prepare(np.zeros((96, 128, 3), np.uint8))
    assert prepared["img"][0].data.shape[-1] == 2 * SIDE
    assert served.card is not None and served.card.look == 2 * SIDE
    assert len(served.predict([np.zeros((96, 128, 3), np.uint8)])) == 1


@pytest.mark.parametrize(("limit", "gb"), [("2000000000\n", 2.0), ("max\n", None), (None, None)])
def test_a_containers_limit_counts_else_most_of_the_machines_memory(
    limit: str | None, gb: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "memory.max"
    if limit:
        path.write_text(limit)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    assert usable_gb(path) == pytest.approx(gb if gb else 0.8 * whole)
