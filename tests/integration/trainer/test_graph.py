"""A version's OpenVINO graph: it serves when it gives the network's boxes, else the network does."""

import shutil
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from mmcv import Config
from mmdet.models import YOLOX, FCOSHead
from support.detectors import tiny_yolox, write_version

from labelloop import graph
from labelloop.boxes import Boxes
from labelloop.detector import Detector, mmdet_config
from labelloop.images import Pixels
from labelloop.registry import Card, ProjectModels
from trainer.training.graphs import add_graph, apart

CLASSES = ("ball", "crate")


@pytest.fixture
def images() -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (height, 90, 3), np.uint8) for height in (60, 90, 200)]


@pytest.fixture
def yolox(tmp_path: Path) -> Path:
    return tiny_yolox(tmp_path / "yolox", CLASSES)


@pytest.fixture(scope="module")
def made_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version like `yolox`, with the graph of the same network."""
    folder = tiny_yolox(tmp_path_factory.mktemp("made") / "yolox", CLASSES)
    assert add_graph(folder, []).startswith("OpenVINO")
    return folder


@pytest.fixture
def graphed(made_graph: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(made_graph, tmp_path / "graphed"))


def one_stage(folder: Path) -> Path:
    config = Config.fromfile(mmdet_config("fcos/fcos_r50_caffe_fpn_gn-head_1x_coco.py"))
    config.model.backbone.update(depth=18, init_cfg=None, base_channels=8)
    config.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=32)
    config.model.bbox_head.update(num_classes=2, in_channels=32, feat_channels=32)
    shrink(config)
    return write_version(folder, config, CLASSES, seed=0)


def two_stages(folder: Path) -> Path:
    config = Config.fromfile(mmdet_config("faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py"))
    config.model.backbone.update(depth=18, init_cfg=None, base_channels=8)
    config.model.neck.update(in_channels=[8, 16, 32, 64])
    config.model.roi_head.bbox_head.num_classes = 2
    shrink(config)
    return write_version(folder, config, CLASSES, seed=0)


def shrink(config: Any) -> None:
    config.data.test.pipeline[1]["img_scale"] = (192, 128)


honest_init = YOLOX.__init__


def needing_its_neck(self: YOLOX, backbone: Any, neck: Any, *rest: Any, **others: Any) -> None:
    """As detectors that build a second network of the same parts."""
    honest_init(self, backbone, neck, *rest, **others)
    self.channels = neck["out_channels"]


def same(ours: list[Boxes], theirs: list[Boxes]) -> bool:
    gaps = [apart(a, b) for a, b in zip(ours, theirs, strict=True)]
    return all(pixels < 0.1 and score < 1e-3 for pixels, score in gaps)


@pytest.mark.parametrize("write", [tiny_yolox, one_stage], ids=["yolox", "fcos"])
def test_the_graph_gives_the_networks_boxes(write: Any, tmp_path: Path, images: list[Pixels]) -> None:
    folder = write(tmp_path / "version", CLASSES) if write is tiny_yolox else write(tmp_path / "version")
    network = Detector.load(folder, "cpu")
    batch, single = network.predict(images), network.predict(images[:1])
    assert all(len(boxes) for boxes in batch), "no boxes, nothing is compared"
    words = add_graph(folder, images)
    assert words.startswith("OpenVINO") and words.endswith("on 3 images")
    detector = Detector.load(folder, "cpu")
    parts = {name.partition(".")[0] for name, _ in detector.model.named_parameters()}
    assert parts == {"bbox_head"}, "what predicts now is not the network"
    assert same(detector.predict(images), batch)
    assert same(detector.predict(images[:1]), single), "another batch size"


def test_a_detector_of_two_stages_serves_without_a_graph(tmp_path: Path, images: list[Pixels]) -> None:
    folder = two_stages(tmp_path / "version")
    words = add_graph(folder, images)
    assert words == "none: FasterRCNN is not a detector of one stage"
    assert len(Detector.load(folder, "cpu").predict(images)) == 3


def test_a_graph_of_other_boxes_is_thrown_away(
    yolox: Path, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_another(model: Any, folder: Path) -> None:
        with torch.no_grad():
            model.bbox_head.multi_level_conv_obj[0].bias += 1
        export(model, folder)
        with torch.no_grad():
            model.bbox_head.multi_level_conv_obj[0].bias -= 1

    export = graph.export
    monkeypatch.setattr(graph, "export", export_another)
    words = add_graph(yolox, images)
    assert words.startswith("none: its boxes are ") and "of score off" in words
    assert not (yolox / graph.XML).exists() and not (yolox / graph.BIN).exists()


def test_a_detector_that_needs_its_weights_after_the_network_serves_without_a_graph(
    tmp_path: Path, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a graph only what comes after the network is built, and no weights are read."""
    folder = one_stage(tmp_path / "version")
    weights = torch.load(folder / "weights.pth", weights_only=True)
    weights["bbox_head.conv_centerness.bias"][:] = 1  # 0 in a head to which no weights were given
    torch.save(weights, folder / "weights.pth")
    boxes = FCOSHead.get_bboxes

    def moved_by_a_weight(self: FCOSHead, *args: Any, **more: Any) -> Any:
        by = 3 * float(self.conv_centerness.bias)
        return [
            (rows + rows.new_tensor([by] * 4 + [0]), labels) for rows, labels in boxes(self, *args, **more)
        ]

    monkeypatch.setattr(FCOSHead, "get_bboxes", moved_by_a_weight)
    assert add_graph(folder, images).startswith("none: its boxes are ")


def test_a_detector_that_cannot_be_built_without_its_network_serves_without_a_graph(
    yolox: Path, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(YOLOX, "__init__", needing_its_neck)
    words = add_graph(yolox, images)
    assert words.startswith("none: ") and "not to be built without its network" in words
    assert not (yolox / graph.XML).exists()


def test_a_graph_from_before_around_which_nothing_can_be_built_gives_way_to_the_network(
    yolox: Path,
    graphed: Path,
    images: list[Pixels],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = Detector.load(yolox, "cpu").predict(images)
    monkeypatch.setattr(YOLOX, "__init__", needing_its_neck)
    assert same(Detector.load(graphed, "cpu").predict(images), expected)
    assert "the network itself serves" in caplog.text


def test_a_graph_whose_outputs_differ_is_not_made(yolox: Path) -> None:
    model = Detector.load(yolox, "cpu").model
    honest = model.forward_dummy

    def moody(self: Any, images: torch.Tensor) -> Any:
        """A graph is drawn from one image, and keeps the way that one went."""
        shift = 0 if len(images) == 1 else 1
        return tuple([level + shift for level in maps] for maps in honest(images))

    model.forward_dummy = MethodType(moody, model)
    with pytest.raises(graph.GraphError, match="outputs are off by"):
        graph.export(model, yolox)


@pytest.mark.parametrize("damage", [b"", b"<net", b"no graph"])
def test_a_damaged_graph_gives_way_to_the_network(
    damage: bytes, yolox: Path, graphed: Path, images: list[Pixels], caplog: pytest.LogCaptureFixture
) -> None:
    expected = Detector.load(yolox, "cpu").predict(images)
    (graphed / graph.XML).write_bytes(damage)
    assert same(Detector.load(graphed, "cpu").predict(images), expected)
    assert str(graphed / graph.XML) in caplog.text and "the network itself serves" in caplog.text


def test_a_graph_with_other_weights_than_it_was_written_with_does_not_serve(
    yolox: Path, graphed: Path, tmp_path: Path, images: list[Pixels], caplog: pytest.LogCaptureFixture
) -> None:
    """A graph.bin of the right size loads whatever is in it, and would serve nonsense."""
    expected = Detector.load(yolox, "cpu").predict(images)
    models = ProjectModels(tmp_path / "models")
    card = Card.model_validate_json((graphed / "card.json").read_bytes())
    folder = models.folder(models.write(card, (graphed / "config.py").read_text(), graphed / "weights.pth"))
    content = (folder / graph.BIN).read_bytes()
    (folder / graph.BIN).unlink()
    (folder / graph.BIN).write_bytes(bytes(len(content)))
    models.check("v0000")
    assert same(Detector.load(folder, "cpu").predict(images), expected)
    assert str(folder / graph.BIN) in caplog.text and "the network itself serves" in caplog.text


def test_boxes_are_compared_with_the_nearest_of_their_label() -> None:
    two = Boxes.of([[0, 0, 10, 10], [50, 50, 60, 60]], [0.9, 0.8], [0, 1])
    assert apart(two, two) == (0, 0)
    moved = Boxes.of([[0, 0, 10, 13], [50, 50, 60, 60]], [0.9, 0.7], [0, 1])
    assert apart(two, moved) == pytest.approx((3, 0.1))
    assert apart(two, Boxes.of([[0, 0, 10, 10]], [0.9], [0])) == (float("inf"), float("inf"))
    assert apart(Boxes.of([[0, 0, 10, 10]], [0.9], [0]), two) == (float("inf"), float("inf"))
    faint = Boxes.of([[0, 0, 10, 10], [50, 50, 60, 60], [9, 9, 20, 20]], [0.9, 0.8, 0.02], [0, 1, 1])
    assert apart(two, faint) == (0, 0)
