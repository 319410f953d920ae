import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.datasets import build_dataset
from PIL import Image
from support.families import FAMILIES, family

from labelloop.detector import load_detector_config
from labelloop.files import write_lines
from labelloop.settings import Settings
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side
from trainer.training import trainset
from trainer.training.job import Job
from trainer.training.loading import ImageCache, LoadSnapshotImage
from trainer.training.recipe import CACHE_BYTES, DATASET, LOADER, fit_data, fit_look, fit_model, fit_run

CONFIGS = Path(__file__).parents[4]
JOB = Job(
    project_id=1, detector="yolox_nano", why="a test", parent=None, start="", start_weights="",
    start_classes=[], iterations=10, threads=2, accelerator="cpu",
)  # fmt: skip


def asked(folder: Path, name: str) -> dict[str, Any]:
    """What mmdet's dataset hands to its pipeline."""
    boxes = np.array([[100, 50, 200, 150]], np.float32)
    truth = {"bboxes": boxes, "bboxes_ignore": np.zeros((0, 4), np.float32), "labels": np.array([0])}
    return {"img_prefix": str(folder), "img_info": {"filename": name}, "ann_info": truth}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.png").write_bytes(b"")
    return tmp_path


def test_an_image_and_its_boxes_shrink_together(folder: Path) -> None:
    results = LoadSnapshotImage(200, CACHE_BYTES)(asked(folder, "wide.png"))
    assert results is not None and results["img"].shape == results["img_shape"] == (150, 200, 3)
    assert results["ann_info"]["bboxes"].tolist() == [[50, 25, 100, 75]]


def test_a_small_image_stays_as_it_is(folder: Path) -> None:
    results = LoadSnapshotImage(1000, CACHE_BYTES)(asked(folder, "wide.png"))
    assert results is not None and results["img"].shape == (300, 400, 3)
    assert results["ann_info"]["bboxes"].tolist() == [[100, 50, 200, 150]]


def test_exif_is_applied(folder: Path) -> None:
    results = LoadSnapshotImage(200, CACHE_BYTES)(asked(folder, "turned.jpg"))
    assert results is not None and results["img"].shape == (200, 150, 3)


def test_an_image_is_decoded_once_and_augmentation_does_not_reach_the_copy_that_is_kept(folder: Path) -> None:
    load = LoadSnapshotImage(200, CACHE_BYTES)
    first = load(asked(folder, "wide.png"))
    assert first is not None
    first["img"][:] = 255
    (folder / "wide.png").unlink()
    second = load(asked(folder, "wide.png"))
    assert second is not None and not second["img"].any()


def test_an_ignored_box_is_painted_over_but_where_a_learned_box_lies(tmp_path: Path) -> None:
    scene = np.full((300, 400, 3), 40, np.uint8)
    scene[100:200, 180:300] = 200  # something that is neither to be found nor to be background
    Image.fromarray(scene).save(tmp_path / "crowd.png")
    wanted = asked(tmp_path, "crowd.png")
    wanted["ann_info"]["bboxes_ignore"] = np.array([[180, 100, 300, 200]], np.float32)
    wanted["ann_info"]["bboxes"] = np.array([[100, 50, 200, 150]], np.float32)
    results = LoadSnapshotImage(1000, CACHE_BYTES)(wanted)
    assert results is not None
    mean = round(40 + 160 * 100 * 120 / (300 * 400))
    expected = scene.copy()
    expected[100:200, 180:300] = mean
    expected[100:150, 180:200] = 200
    assert np.array_equal(results["img"], expected)
    assert results["ann_info"]["bboxes_ignore"].tolist() == [[180, 100, 300, 200]]
    half = LoadSnapshotImage(200, CACHE_BYTES)(
        asked(tmp_path, "crowd.png") | {"ann_info": wanted["ann_info"]}
    )
    assert half is not None and half["img"].shape == (150, 200, 3)
    assert (half["img"][76:99, 91:149] == mean).all(), "painted after the image was shrunk"


def test_an_unreadable_image_yields_nothing(folder: Path) -> None:
    assert LoadSnapshotImage(200, CACHE_BYTES)(asked(folder, "broken.png")) is None


def test_the_cache_stays_within_its_bytes_and_keeps_what_it_has() -> None:
    """Of twice as many images as fit, in any order, half are there in every epoch but the first."""
    cache: ImageCache[bytes] = ImageCache(capacity=450)
    cache.put("huge", bytes(900), 900)
    names, rng = [str(n) for n in range(8)], random.Random(0)
    for epoch in range(4):
        hits = 0
        for name in rng.sample(names, len(names)):
            if cache.get(name) is not None:
                hits += 1
            else:
                cache.put(name, bytes(100), 100)
        assert hits == (4 if epoch else 0)
    assert cache.get("huge") is None


@pytest.mark.parametrize(("device", "share"), [("cpu", 1), ("cuda", 2)])
def test_the_workers_share_the_memory_for_decoded_images(device: str, share: int, tmp_path: Path) -> None:
    config = load_detector_config("yolox_nano", Settings(labelloop_home=CONFIGS))
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a"])
    fit_run(config, tmp_path, JOB, device)
    assert f"'cache_bytes': {CACHE_BYTES // share}" in str(config.data.train)


@pytest.mark.parametrize(("name", "size"), [("yolox_nano", 320), ("fcos_r50", 1333)])
def test_a_detectors_pipeline_gets_our_loader_at_its_training_size(
    name: str, size: int, tmp_path: Path
) -> None:
    config = load_detector_config(name, Settings(labelloop_home=CONFIGS))
    fit_model(config, ["a", "b", "c"])
    fit_look(config)
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a", "b", "c"])
    text = str(config.data.train)
    assert "LoadImageFromFile" not in text and f"'long_side': {size}" in text
    assert str(tmp_path / "train.jsonl") in text and f"'type': '{DATASET}'" in text
    assert "CocoDataset" not in text
    assert config.model.bbox_head.num_classes == 3
    assert "Pretrained" not in str(config.model)
    looks = config.data.test.pipeline[1].img_scale
    assert looks == ((352, 352) if name == "yolox_nano" else (1333, 800))


def test_of_sizes_to_draw_from_the_largest_is_loaded(tmp_path: Path) -> None:
    """DETR's pipeline names them in lists, and those in lists of policies."""
    config = family("detr")
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a"])
    assert f"'type': '{LOADER}'" in str(config.data.train) and "'long_side': 1333" in str(config.data.train)


@pytest.mark.parametrize(
    "name", ["yolox_nano", "yolox_s", "fcos_r50", "yolox_mobilenetv2", "retinanet", "ssd", "yolov3", "detr"]
)
def test_ignored_boxes_go_through_every_familys_pipeline(name: str, tmp_path: Path) -> None:
    own = Settings(labelloop_home=CONFIGS)
    config = family(name) if name in FAMILIES else load_detector_config(name, own)
    Image.new("RGB", (200, 100), (9, 9, 9)).save(tmp_path / "a.png")
    boxes, ignored = ((10.0, 10.0, 60.0, 60.0),), ((1, (100.0, 20.0, 180.0, 80.0)),)
    image = SnapshotImage(1, 1, "a.png", "0" * 64, 200, 100, Side.TRAIN, boxes, (0,), ignored)
    write_lines(tmp_path / "train.jsonl", trainset.lines([image]))
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a"])
    fit_run(config, tmp_path, JOB, "cpu")
    dataset = build_dataset(config.data.train)
    for _ in range(8):
        assert len(dataset[0]["gt_labels"].data) <= 1, "an ignored box is no truth"
