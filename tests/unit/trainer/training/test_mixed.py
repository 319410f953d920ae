"""A GPU serves 16 bits only where the boxes are fp32's; here the CPU takes its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.detectors import tiny_yolox, write_version
from support.families import family

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import Pixels
from labelloop.yolox import Yolox
from trainer.training import mixed
from trainer.training.mixed import precision_of, served_precision


@pytest.fixture
def images() -> list[Pixels]:
    return [np.random.default_rng(n).integers(0, 255, (90, 120, 3), np.uint8) for n in range(2)]


@pytest.fixture
def yolox(tmp_path: Path) -> Path:
    """A version whose random weights give boxes with scores of a quarter."""
    folder = tiny_yolox(tmp_path / "v0001", ("ball", "crate"))
    weights = torch.load(folder / "weights.pth", weights_only=True)
    for key, value in weights.items():
        if key.endswith("bias") and ("conv_obj" in key or "conv_cls" in key):
            value.zero_()
    torch.save(weights, folder / "weights.pth")
    return folder


def test_the_same_boxes_serve(yolox: Path, images: list[Pixels]) -> None:
    told = precision_of(yolox, images, "cpu", ["bf16"])
    assert told.startswith("bf16; against fp32 ") and "on 2 images" in told


def test_other_boxes_do_not_and_the_next_precision_is_tried(
    yolox: Path, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mix(model: Any, precision: str, device: str) -> None:
        if precision == "bf16":
            with torch.no_grad():
                model.bbox_head.multi_level_conv_obj[0].bias += 1

    monkeypatch.setattr(mixed, "mix", mix)
    told = precision_of(yolox, images, "cpu", ["bf16"])
    assert told.startswith("fp32; bf16 has other boxes: ")
    assert precision_of(yolox, images, "cpu", ["bf16", "fp16"]).startswith("fp16; against fp32 ")


def test_without_images_or_with_mmcvs_operators_it_is_fp32(
    yolox: Path, tmp_path: Path, images: list[Pixels]
) -> None:
    assert precision_of(yolox, [], "cpu", ["bf16"]).startswith("fp32; there is no image")
    folder = write_version(tmp_path / "vfnet", family("vfnet"), ["ball"] * 80, seed=0)
    assert "operators of mmcv's" in precision_of(folder, images, "cpu", ["bf16"])


def test_on_a_cpu_nothing_changes(yolox: Path, images: list[Pixels]) -> None:
    """A version that a GPU serves in 16 bits, too."""
    assert served_precision(yolox, images, "cpu") == ""
    before = Detector.load(yolox, "cpu").predict(images)
    card = yolox / "card.json"
    card.write_text(card.read_text().replace('"graph":""', '"graph":"","precision":"bf16; within"', 1))
    detector = Detector.load(yolox, "cpu")
    assert detector.card is not None and "extract_feat" not in vars(detector.model)
    for ours, theirs in zip(before, detector.predict(images), strict=True):
        assert np.array_equal(ours.xyxy, theirs.xyxy) and np.array_equal(ours.scores, theirs.scores)
    assert detector.model.backbone.stem.conv.conv.weight.is_contiguous()


def test_what_a_detector_finds_does_not_depend_on_how_often_memory_runs_out(
    yolox: Path, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector.load(yolox, "cpu")
    expected, raw = detector.predict(images), detector.raw(images)

    def at_most_one(passes: Callable[..., Any]) -> Callable[..., Any]:
        def passing(self: Any, batch: Any) -> Any:
            if len(batch) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return passes(self, batch)

        return passing

    for of, name in ((Detector, "_collated"), (Yolox, "batch")):
        monkeypatch.setattr(of, name, at_most_one(getattr(of, name)))
    for ours, theirs in zip(expected, detector.predict(images), strict=True):
        np.testing.assert_allclose(_sorted(ours), _sorted(theirs), atol=1e-3)
    assert [len(one) for one in Detector.load(yolox, "cpu").raw(images)] == [len(one) for one in raw]
    assert detector.batch_size == 1


def _sorted(boxes: Boxes) -> Any:
    """The corners in an order that boxes of one score don't change."""
    return boxes.xyxy[np.lexsort(boxes.xyxy.round(1).T)]
