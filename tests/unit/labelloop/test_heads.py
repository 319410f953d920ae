"""A head that was learnt at once, in the graph of the version upon which it was learnt."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from support.detectors import tiny_yolox

from labelloop import graph
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
