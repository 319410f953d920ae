"""What training does to a model before it begins, and what it begins from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import Swish
from support.families import family
from support.shapes import LABELS
from support.small_rounds import SmallRounds, trainable

from trainer.training import bundle, learn
from trainer.training.fit import new_model
from trainer.training.learn import quicken
from trainer.training.pace import KEEP
from trainer.training.recipe import fit_model, looks_at_mirror_images

LEARNING_RATE = 0.001


def test_a_quickened_model_gives_the_same() -> None:
    torch.manual_seed(0)
    inner = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), Swish())
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Swish(), inner)
    images = torch.rand(2, 3, 16, 16)
    before, keys = model(images), list(model.state_dict())
    quicken(model)
    assert torch.allclose(model(images), before, atol=1e-6)
    assert list(model.state_dict()) == keys
    assert not any(isinstance(module, Swish) for module in model.modules())
    assert inner[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["yolox", "retinanet", "vfnet", "faster_rcnn"])
def test_a_quickened_detector_finds_the_same(name: str) -> None:
    """For memory in channels last mmcv's operators, RoIAlign say, gave other numbers without a word."""
    torch.manual_seed(0)
    config = family(name)
    fit_model(config, LABELS)
    model = new_model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images = torch.rand(1, 3, 64, 96)
    metas = [{"batch_input_shape": (64, 96), "img_shape": (64, 96, 3), "scale_factor": np.ones(4, "f4")}]

    def found() -> np.ndarray:
        with torch.no_grad():
            (boxes,) = model.simple_test(images, metas)
        return np.concatenate([np.insert(rows, 0, label, axis=1) for label, rows in enumerate(boxes)])

    before = found()
    quicken(model)
    after = found()
    assert len(after) == len(before) > 2, "no boxes, nothing is compared"
    # Of boxes with nearly equal scores, as an untrained model has them, either may come first.
    apart = np.abs(after[:, None] - before[None]).max(axis=2)
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-3


class Seen:
    """Takes the place of mmdet's training: sees the model and its learning rate, and adds 1 to all of it."""

    def __call__(self, model: torch.nn.Module, dataset: object, config: Any, **kwargs: object) -> None:
        self.rate = config.optimizer.lr
        self.start = {key: value.clone() for key, value in model.state_dict().items()}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 1


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none")
    found = Seen()
    monkeypatch.setattr(learn, "train_detector", found)
    return found


def trained(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A candidate's weights and card."""
    candidate = folder / "candidate"
    weights: dict[str, torch.Tensor] = torch.load(candidate / "weights.pth", weights_only=True)
    return weights, json.loads((candidate / "card.json").read_text())


@pytest.mark.parametrize(
    ("detector", "pace", "rate"),
    [
        ("yolox", 0.5, 0.5),
        ("yolox", None, 0.1),
        ("retinanet", 1.0, 1.0),
        ("faster_rcnn", None, 0.1),
        ("ssd", None, 0.1),
    ],
)
def test_a_round_of_the_same_labels_goes_on_from_the_whole_model(
    detector: str,
    pace: float | None,
    rate: float,
    tmp_path: Path,
    seen: Seen,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It does so at the job's pace. The jobs of earlier releases have none, and fine-tune."""
    small = SmallRounds.below(tmp_path, detector)
    labels = ["ball", "crate"]
    start = small.weights(tmp_path / "start.pth", labels)
    folder = small.round("1", small.snapshot(), start, labels, parent="v0001", pace=pace)
    learn.learn(folder, small.settings)

    before = torch.load(start, weights_only=True)
    assert before.keys() == seen.start.keys()
    assert all(torch.equal(seen.start[key], before[key]) for key in before)
    assert seen.rate == pytest.approx(LEARNING_RATE * rate)
    weights, card = trained(folder)
    key = next(key for key in weights if key.startswith(("bbox_head", "roi_head")) and key.endswith("weight"))
    torch.testing.assert_close(weights[key], before[key] + 1 - KEEP)
    assert card["head"] == "ball, crate from classes of the weights"
    assert card["overlaps"]["iou"] == {"ball": 0.5, "crate": 0.5}, "few labels leave the limits alone"
    told = capsys.readouterr().out
    assert f"The head starts with {card['head']}" in told
    assert f"Learns at {rate:.0%} of the detector's rate" in told and "Trains in fp32" in told


@pytest.mark.parametrize(
    ("flips", "mirrored"),
    [
        ({"flip_ratio": 0.5}, True),
        ({"flip_ratio": 0.0}, False),
        ({"flip_ratio": None}, False),
        ({"flip_ratio": 0.5, "direction": "vertical"}, False),
        ({"flip_ratio": 0.5, "direction": ["vertical", "horizontal"]}, True),
        ({"flip_ratio": [0.5, 0.0], "direction": ["vertical", "horizontal"]}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_version_looks_at_mirror_images_if_it_was_taught_by_such(
    flips: dict[str, Any], mirrored: bool
) -> None:
    config = family("yolox")
    steps = [step for step in config.data.train.pipeline if step["type"] != "RandomFlip"]
    config.data.train.pipeline = [*steps, {"type": "RandomFlip", **flips}] if flips else steps
    assert looks_at_mirror_images(config) == mirrored
    for skipped, still in ((("Mosaic",), mirrored), (("Mosaic", "RandomFlip"), False)):
        config.data.train.skip_type_keys = skipped
        assert looks_at_mirror_images(config) == still, "as the detectors here leave out mosaics"
    del config.data.train["skip_type_keys"]
    config.loop = {"mirror": False}
    assert not looks_at_mirror_images(config), "who has no time for it says so in the config"


@pytest.mark.parametrize("mirror", [True, False])
def test_the_card_of_a_round_says_whether_its_version_looks_at_mirror_images(
    mirror: bool, tmp_path: Path, seen: Seen
) -> None:
    config = trainable("yolox")
    config.loop.mirror = mirror
    small = SmallRounds.below(tmp_path, "yolox", config)
    start = small.weights(tmp_path / "start.pth", LABELS)
    folder = small.round("1", small.snapshot(), start, LABELS)
    learn.learn(folder, small.settings)
    assert trained(folder)[1]["mirrored"] == mirror


@pytest.mark.parametrize("detector", ["yolox", "faster_rcnn"])
def test_with_a_new_label_the_rate_is_the_detectors_and_nothing_random_is_blended_in(
    detector: str, tmp_path: Path, seen: Seen
) -> None:
    small = SmallRounds.below(tmp_path, detector)
    start = small.weights(tmp_path / "start.pth", ["ball", "crate"])
    snapshot = small.snapshot(["ball", "crate", "egg"])
    folder = small.round("1", snapshot, start, ["ball", "crate"])
    learn.learn(folder, small.settings)
    assert seen.rate == pytest.approx(LEARNING_RATE)
    weights, card = trained(folder)
    key = next(key for key in weights if key.endswith("weight"))
    torch.testing.assert_close(weights[key], seen.start[key] + 1)
    assert card["head"] == "ball, crate from classes of the weights; egg at random"


def test_a_head_that_cannot_be_carried_over_is_no_fine_tune_and_is_told(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SmallRounds.below(tmp_path, "retinanet")
    start = small.weights(tmp_path / "start.pth", ["crate", "ball"])
    key = "bbox_head.retina_cls.weight"
    monkeypatch.setattr(learn, "class_rows", lambda config, labels: {key: None})
    folder = small.round("1", small.snapshot(), start, ["crate", "ball"], parent="v0001", pace=0.1)
    learn.learn(folder, small.settings)
    assert seen.rate == pytest.approx(LEARNING_RATE)
    weights, card = trained(folder)
    torch.testing.assert_close(weights[key], seen.start[key] + 1)
    told = f"all labels at random in 1 tensor that could not be carried over: {key}"
    assert told in card["head"] and told in capsys.readouterr().out
