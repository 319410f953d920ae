"""A head that was learnt at once, in the graph of the version upon which it was learnt."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from support.detectors import tiny_yolox

from labelloop import graph, mmdet_model, precision
from labelloop.detector import Detector
from labelloop.instant import InstantVersions
from labelloop.registry import Card

LABELS = ["ball", "crate", "cone"]
LOOK = 160
State = dict[str, torch.Tensor]


def test_the_graph_with_a_learnt_head_finds_what_the_network_does(tmp_path: Path) -> None:
    base = tiny_yolox(tmp_path / "v0000", ["cat", "dog"])
    weights = torch.load(base / "weights.pth", weights_only=True)
    torch.save(randomised(weights), base / "weights.pth")
    loaded = Detector.load(base, "cpu")
    instant = InstantVersions(tmp_path / "instant")
    version = instant.write("v0000", Card(detector="tiny", classes=LABELS, look=LOOK), head_of(weights))
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    by_network = Detector.load(instant.folder(version), "cpu")
    graph.export(loaded.model, base)
    by_graph = Detector.load(instant.folder(version), "cpu")
    assert not hasattr(by_graph.model.backbone, "stem"), "the graph serves"
    expected, found = by_network.predict([image])[0], by_graph.predict([image])[0]
    assert len(expected) > 10 and len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=0.1)
    assert max(by_graph.prepare(image)["img"][0].data.shape[-2:]) == LOOK
    with pytest.raises(graph.GraphError, match="a graph with 9 maps, and a head for 1"):
        graph.load(base, 3, 1, [[(np.zeros((1, 16, 1, 1), np.float32), np.zeros(1, np.float32))]])


def test_a_graph_for_squares_gives_what_one_for_any_images_gives(tmp_path: Path) -> None:
    """One by one and of other sizes, too, which no pipeline of a YOLOX gives it."""
    folder = tiny_yolox(tmp_path / "v0000", ["cat", "dog"])
    graph.export(Detector.load(folder, "cpu").model, folder)
    of_any, of_squares = (graph.load(folder, 3, 1, side=side) for side in (None, 128))
    torch.manual_seed(0)
    for shape in ((1, 3, 128, 128), (3, 3, 128, 128), (2, 3, 64, 96)):
        images = 255 * torch.rand(shape)
        for expected, found in zip(of_any(images), of_squares(images), strict=True):
            for one, other in zip(expected, found, strict=True):
                assert one.shape == other.shape
                torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)
    attached: list[int | None] = []
    load = graph.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "load", lambda *args: attached.append(args[4]) or load(*args))
        Detector.load(folder, "cpu")
    assert attached == [128], "a YOLOX has its graph for the squares that it looks at"


def test_on_a_gpu_it_computes_as_its_champion_was_checked_and_its_own_head_in_32_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the CPU in the GPU's place."""
    base = tiny_yolox(tmp_path / "v0000", ["cat", "dog"])
    weights = torch.load(base / "weights.pth", weights_only=True)
    card = Card(detector="tiny", classes=["cat", "dog"], precision="bf16; against fp32 9 boxes")
    (base / "card.json").write_text(card.model_dump_json())
    instant = InstantVersions(tmp_path / "instant")
    learnt = instant.write("v0000", Card(detector="tiny", classes=LABELS, look=LOOK), head_of(weights))
    by_cpu = Detector.load(instant.folder(learnt), "cpu")

    build, mix = mmdet_model.build_model, precision.mix
    monkeypatch.setattr(mmdet_model, "build_model", lambda config, device: build(config, "cpu"))
    monkeypatch.setattr(precision, "mix", lambda model, bits, device, head: mix(model, bits, "cpu", head))
    for offered, mixed in (("bf16", True), ("fp16", False)):
        monkeypatch.setattr(precision, "choices", lambda device, offered=offered: (offered,))
        champion, served = (Detector.load(one, "cuda:0") for one in (base, instant.folder(learnt)))
        assert [("extract_feat" in vars(one.model)) for one in (champion, served)] == [mixed, mixed]
        assert "forward" not in vars(served.model.bbox_head)
        assert ("forward" in vars(champion.model.bbox_head)) == mixed
        image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
        expected, found = by_cpu.predict([image])[0], served.predict([image])[0]
        np.testing.assert_allclose(found.scores[:10], expected.scores[:10], atol=2e-2)


def randomised(state: State, seed: int = 1) -> State:
    """Biases that are not 0, since a graph would leave these out."""
    torch.manual_seed(seed)
    return {
        key: value + 0.1 * torch.randn_like(value) if key.endswith(".bias") else value
        for key, value in state.items()
    }


def head_of(weights: State) -> bytes:
    """A head for LABELS."""
    state = {key: value for key, value in randomised(weights, 3).items() if key.startswith("bbox_head.")}
    for key in [key for key in state if key.endswith("conv.weight")]:
        state[key] = state[key] + 0.1 * torch.randn_like(state[key])
    for key in [key for key in state if "conv_cls" in key]:
        state[key] = torch.randn(len(LABELS), *state[key].shape[1:])
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
