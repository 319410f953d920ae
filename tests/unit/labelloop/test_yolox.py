"""What is done around a YOLOX network in mmdet's place gives the numbers that mmdet's code gives."""

from pathlib import Path

import numpy as np
import pytest
from support.detectors import tiny_yolox, write_version
from support.families import family

from labelloop.detector import Detector, _best, _boxes_of
from labelloop.yolox import Yolox

CLASSES = [f"class {number}" for number in range(7)]
SIZES = [(96, 128), (200, 90), (128, 128), (31, 400)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """With random weights, but as sure of objects as a trained one: thousands of boxes."""
    found = Detector.load(tiny_yolox(tmp_path_factory.mktemp("yolox") / "v", CLASSES), "cpu")
    for last in (*found.model.bbox_head.multi_level_conv_obj, *found.model.bbox_head.multi_level_conv_cls):
        last.bias.data.fill_(-1.5)
        last.weight.data *= 8
    return found


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    numbers = np.random.default_rng(0)
    return [numbers.integers(0, 255, (*size, 3), dtype=np.uint8) for size in SIZES]


def test_images_are_prepared_as_mmdets_pipeline_prepares_them(
    detector: Detector, images: list[np.ndarray]
) -> None:
    import torch

    quick = Yolox.of(detector.model)
    assert quick is not None
    batch, factors = quick.batch(images)
    expected = detector._collated(images)
    assert torch.equal(batch, expected["img"][0])
    for factor, meta in zip(factors, expected["img_metas"][0], strict=True):
        assert factor.tolist() == meta["scale_factor"].tolist()


def test_boxes_are_those_of_mmdets_own_code(detector: Detector, images: list[np.ndarray]) -> None:
    results = detector._infer(images)
    expected = [_best(_boxes_of(rows), image) for rows, image in zip(results, images, strict=True)]
    assert min(map(len, expected)) > 20 and len({int(label) for b in expected for label in b.labels}) > 2
    for ours, theirs in zip(detector.predict(images), expected, strict=True):
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert np.abs(ours.scores - theirs.scores).max() < 1e-6
        assert np.abs(ours.xyxy - theirs.xyxy).max() < 1e-4


def test_one_pass_of_the_network_gives_the_boxes_and_the_raw_ones(
    detector: Detector, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(detector.predict([image])[0], detector.raw([image])[0]) for image in images]
    passes, look = [], detector.model.extract_feat
    monkeypatch.setattr(detector.model, "extract_feat", lambda batch: passes.append(1) or look(batch))
    for image, (boxes, raw) in zip(images, expected, strict=True):
        ours, ours_raw = detector.both(image)
        assert np.array_equal(ours.xyxy, boxes.xyxy) and np.array_equal(ours.scores, boxes.scores)
        assert np.array_equal(ours.labels, boxes.labels) and len(ours) > 20
        assert np.array_equal(ours_raw.xyxy, raw.xyxy) and np.array_equal(ours_raw.evidence, raw.evidence)
        assert np.array_equal(ours_raw.classes, raw.classes) and len(ours_raw) >= len(ours)
    assert len(passes) == len(images)


def test_an_image_without_an_object_has_no_box(detector: Detector, images: list[np.ndarray]) -> None:
    import torch

    quick = Yolox.of(detector.model)
    assert quick is not None
    with torch.no_grad():
        batch, factors = quick.batch(images[:1])
        scores, offsets, objectness = detector.model.bbox_head(detector.model.extract_feat(batch))
        [found] = quick.boxes((scores, offsets, [level - 99 for level in objectness]), factors)
    assert not len(found)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fcos", {}),
        ("faster_rcnn", {}),
        ("yolox", {"flip": True}),
        ("yolox", {"img_scale": [(64, 64), (128, 128)]}),
        ("yolox", {"img_scale": (128, 64)}),
        ("yolox", {"transforms": [{"type": "Resize", "keep_ratio": False}]}),
    ],
    ids=str,
)
def test_what_is_not_known_is_left_to_mmdet(name: str, change: dict[str, object], tmp_path: Path) -> None:
    config = family(name)
    config.data.test.pipeline[1].update(change)
    detector = Detector.load(write_version(tmp_path / name, family(name), CLASSES * 12, 0), "cpu")
    detector.model.cfg = config
    assert Yolox.of(detector.model) is None
