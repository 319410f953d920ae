import hashlib
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.served import Handler, served

from labelloop.detector import DetectorError, load_detector_config
from labelloop.settings import Settings
from trainer.training import speed, weights
from trainer.training.convert import from_megvii
from trainer.training.fit import new_model
from trainer.training.head import class_rows
from trainer.training.length import reference_iterations
from trainer.training.published import Published
from trainer.training.recipe import fit_model
from trainer.training.speed import Measured
from trainer.training.weights import (
    WeightsError,
    choose,
    find,
    read_checkpoint,
)

CONFIGS = Path(__file__).parents[4] / "configs"
State = dict[str, torch.Tensor]


def cache(settings: Settings, name: str) -> Path:
    return settings.cache_dir / "weights" / name


def to_megvii(key: str) -> str:
    """mmdet's key as Megvii's YOLOX names it: written from Megvii's module tree, the other way about."""
    csp = {"main_conv": "conv1", "short_conv": "conv2", "final_conv": "conv3", "blocks": "m"}
    key = re.sub(r"\b(main_conv|short_conv|final_conv|blocks)\b", lambda m: csp[m[1]], key)
    key = key.replace("depthwise_conv", "dconv").replace("pointwise_conv", "pconv")
    key = re.sub(r"^backbone\.stage(\d)", lambda m: f"backbone.backbone.dark{int(m[1]) + 1}", key)
    key = re.sub(r"^backbone\.stem", "backbone.backbone.stem", key)
    neck = {
        "reduce_layers.0": "lateral_conv0",
        "reduce_layers.1": "reduce_conv1",
        "top_down_blocks.0": "C3_p4",
        "top_down_blocks.1": "C3_p3",
        "downsamples.0": "bu_conv2",
        "downsamples.1": "bu_conv1",
        "bottom_up_blocks.0": "C3_n3",
        "bottom_up_blocks.1": "C3_n4",
    }
    for ours, theirs in neck.items():
        key = re.sub(rf"^neck\.{ours}\b", f"backbone.{theirs}", key)
    key = re.sub(r"^neck\.out_convs", "head.stems", key)
    key = re.sub(r"^bbox_head\.multi_level_(cls|reg)_convs", r"head.\1_convs", key)
    return re.sub(r"^bbox_head\.multi_level_conv_(cls|reg|obj)", r"head.\1_preds", key)


def test_megviis_keys_become_mmdets_one_to_one(nano: State) -> None:
    theirs = {to_megvii(key): value for key, value in nano.items()}
    assert len(theirs) == len(nano) and not theirs.keys() & nano.keys()
    samples = {
        "backbone.backbone.stem.conv.conv.weight",
        "backbone.backbone.dark2.0.dconv.conv.weight",
        "backbone.backbone.dark5.1.conv2.bn.bias",
        "backbone.backbone.dark5.2.m.0.conv2.pconv.conv.weight",
        "backbone.C3_p4.conv3.conv.weight",
        "head.stems.2.conv.weight",
        "head.cls_convs.0.1.dconv.conv.weight",
        "head.obj_preds.1.bias",
    }
    assert samples <= theirs.keys()
    converted = from_megvii(theirs)
    assert converted.keys() == nano.keys()
    assert all(torch.equal(converted[key], nano[key]) for key in nano)


def test_a_file_in_the_cache_is_taken_in_either_makers_keys(settings: Settings, nano: State) -> None:
    torch.save({"meta": {"CLASSES": ("x",) * 80}, "state_dict": nano}, cache(settings, "yolox_nano_coco.pth"))
    ours = find("yolox_nano", settings)
    cache(settings, "yolox_nano_coco.pth").unlink()
    theirs = {"start_epoch": 3, "model": {to_megvii(key): value for key, value in nano.items()}}
    torch.save(theirs, cache(settings, "yolox_nano.pth"))
    converted = find("yolox_nano", settings)
    assert ours.classes == converted.classes and len(ours.classes) == 80 and ours.classes[15] == "cat"
    assert all(torch.equal(ours.state[key], converted.state[key]) for key in nano)
    choice = choose(settings)
    assert choice.detector == "yolox_nano" and "yolox_nano.pth" in choice.why


def test_what_was_chosen_and_why_follows_the_settings(settings: Settings, nano: State) -> None:
    choice = choose(settings)
    assert choice.detector == "yolox_mobilenetv2"
    assert "yolox_nano" in choice.why and "127.0.0.1:9" in choice.why
    assert choice.why.count("127.0.0.1:9 does not answer") == 1, "what all lack for one reason is said once"
    assert (
        choose(settings.model_copy(update={"detector": "yolox_mobilenetv2"})).why
        == "DETECTOR=yolox_mobilenetv2"
    )
    with pytest.raises(DetectorError, match="choose auto or one of"):
        choose(settings.model_copy(update={"detector": "yolov99"}))


def random_weights(detector: str, settings: Settings) -> None:
    config = load_detector_config(detector, settings)
    fit_model(config, [""] * 80)
    torch.save(new_model(config).state_dict(), cache(settings, f"{detector}.pth"))


def test_auto_takes_the_strongest_whose_round_was_measured_to_fit(
    settings: Settings, nano: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have weights; those of two others are away, which is said once, and a third's can't be fetched."""
    torch.save(nano, cache(settings, "yolox_nano.pth"))
    random_weights("yolox_tiny", settings)
    asked: list[str] = []
    seconds = {"yolox_nano": 0.5, "yolox_tiny": 1.2}

    def measuring(detectors: list[str], settings: Settings) -> Iterator[tuple[str, Measured]]:
        for name in detectors:
            asked.append(name)
            yield (
                name,
                Measured(iterations=150, iteration_s=seconds[name], look_s=0.1, ready_s=5.0, memory_gb=1.0),
            )

    monkeypatch.setattr(speed, "measuring", measuring)
    choice = choose(settings)
    assert choice.detector == "yolox_tiny" and choice.found is not None
    assert choice.why.startswith(
        "DETECTOR=auto: a round on 40 labelled images takes about 3:12 min here; no weights of yolox_l, "
        "yolox_s: they are not in "
    )
    slower = choose(settings.model_copy(update={"round_minutes": 2.0}))
    assert slower.detector == "yolox_nano"
    assert "yolox_tiny would take 3:12 min, more than ROUND_MINUTES=2" in slower.why
    assert asked == ["yolox_nano", "yolox_tiny"], "measured once"
    cache(settings, "yolox_tiny.pth").write_bytes(b"PK not a checkpoint")
    damaged = choose(settings)
    assert damaged.detector == "yolox_nano" and "can be read safely" in damaged.why


def test_where_one_alone_has_weights_nothing_is_measured(
    settings: Settings, nano: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(nano, cache(settings, "yolox_nano.pth"))
    monkeypatch.setattr(speed, "_process", None)
    choice = choose(settings)
    assert choice.detector == "yolox_nano"
    assert "the only one whose weights can be had; no weights of yolox_l, yolox_s, yolox_tiny: " in choice.why


def test_auto_measures_none_whose_weights_it_would_not_download(
    settings: Settings, nano: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their host answers, as it has those of another; nothing says that a new project would start with it."""
    torch.save(nano, cache(settings, "yolox_nano.pth"))
    monkeypatch.setattr(weights, "_does_not_answer", lambda url, certificates: None)
    asked: list[str] = []

    def measuring(detectors: list[str], settings: Settings) -> Iterator[tuple[str, str]]:
        asked.extend(detectors)
        yield detectors[0], "a test"

    monkeypatch.setattr(speed, "measuring", measuring)
    choice = choose(settings)
    assert choice.detector == "yolox_nano"
    assert asked == ["yolox_nano", "yolox_tiny", "yolox_s", "yolox_l"]
    assert "; no weights of yolox_m: they are not in " in choice.why and "without a checksum" in choice.why


def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(settings: Settings, nano: State) -> None:
    path = cache(settings, "yolox_nano.pth")
    torch.save({key: value for key, value in nano.items() if "multi_level_conv_cls.0" not in key}, path)
    with pytest.raises(
        WeightsError, match=r"yolox_nano\.pth is no yolox_nano: it lacks .*multi_level_conv_cls\.0"
    ):
        find("yolox_nano", settings)
    path.write_bytes(b"PK not a checkpoint")
    with pytest.raises(WeightsError, match="no weights that can be read safely"):
        find("yolox_nano", settings)
    torch.save(nano, cache(settings, "yolox_nano_coco.pth"))
    assert "yolox_nano_coco.pth" in find("yolox_nano", settings).source, "the bad one is passed over"


class Trap:
    """Something a pickle runs when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_executed(settings: Settings, tmp_path: Path, legacy: bool) -> None:
    sprung = tmp_path / "sprung"
    path = cache(settings, "yolox_nano.pth")
    if legacy:
        path.write_bytes(pickle.dumps({"model": Trap(sprung)}))
    else:
        torch.save({"model": Trap(sprung)}, path)
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not sprung.exists()


def test_numbers_of_numpy_beside_the_tensors_do_no_harm(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "zoo.pth"
    meta = {"CLASSES": ("cat",), "lr": np.float64(0.1), "epoch": np.int64(3)}
    torch.save({"meta": meta, "state_dict": {"a": torch.ones(1)}}, path)
    state, classes = read_checkpoint(path)
    assert list(state) == ["a"] and classes == ["cat"]


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """URL, what it serves by path, and the paths that were asked for."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Files(Handler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path in files else 404)
            self.end_headers()
            self.wfile.write(files.get(self.path, b""))

    with served(Files) as url:
        yield url, files, asked


def test_weights_are_fetched_once_and_only_with_the_pinned_sha256(
    settings: Settings, nano: State, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, files, asked = server
    torch.save({"model": {to_megvii(key): value for key, value in nano.items()}}, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    files["/good.pth"] = files["/forged.pth"] = content
    digest = hashlib.sha256(content).hexdigest()

    monkeypatch.setattr(weights, "PUBLISHED", {"yolox_nano": Published(f"{url}/forged.pth", "0" * 64)})
    with pytest.raises(WeightsError, match=f"has sha256 {digest}, expected 0000"):
        find("yolox_nano", settings)
    assert list((settings.cache_dir / "weights").iterdir()) == [], "nothing half-fetched or forged stays"

    monkeypatch.setattr(weights, "PUBLISHED", {"yolox_nano": Published(f"{url}/good.pth", digest)})
    for _ in range(2):
        assert len(find("yolox_nano", settings).classes) == 80
    assert asked == ["/forged.pth", "/good.pth"]


def test_weights_that_nobody_tells_the_sha256_of_are_not_fetched(
    settings: Settings, nano: State, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, asked = server
    monkeypatch.setattr(weights, "PUBLISHED", {"yolox_nano": Published(f"{url}/yolox_nano.pth", "")})
    with pytest.raises(WeightsError, match=f"{url}/yolox_nano.pth comes without a checksum.*fetch it"):
        find("yolox_nano", settings)
    assert asked == []
    torch.save(nano, cache(settings, "yolox_nano.pth"))
    assert len(find("yolox_nano", settings).classes) == 80


def test_a_failed_fetch_is_not_tried_again(
    settings: Settings, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, asked = server
    monkeypatch.setattr(weights, "PUBLISHED", {"yolox_nano": Published(f"{url}/none.pth", "00")})
    for _ in range(3):
        assert choose(settings).detector == "yolox_mobilenetv2"
    assert asked == ["/none.pth"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "detectors").glob("*.py")))
def test_every_detector_of_the_repo_builds_without_a_download(name: str, settings: Settings) -> None:
    config = load_detector_config(name, settings)
    fit_model(config, ["a", "b"])
    assert class_rows(config, 2)
    model = new_model(config)
    head = model.bbox_head if model.with_bbox and hasattr(model, "bbox_head") else model.roi_head.bbox_head
    assert head.num_classes == 2
    assert reference_iterations(name, settings) > 0
