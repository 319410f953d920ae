"""A detector's network as an OpenVINO graph, which on a CPU gives the same boxes in a third of the time.

The graph replaces only the network. Preparing the images, and turning the network's output into boxes, stays
outside: mmdet's own code does it, or `labelloop.yolox`. Detectors with several stages have no graph, as
mmdet's code runs between the stages.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelloop.errors import Explained

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mmcv import Config
    from numpy.typing import NDArray

    Maps = tuple[list[torch.Tensor], ...]
    Layer = tuple[NDArray[np.float32], NDArray[np.float32]]

XML, BIN = "graph.xml", "graph.bin"
FILES = (XML, BIN)
PROBE_SIDE = 320
MAX_GAP = 1e-2
_ACTIVATIONS = ("Swish", "Multiply", "Relu", "Clamp")
_CONVOLUTIONS = ("Convolution", "GroupConvolution")


class GraphError(Explained):
    """A network has no graph, or its graph cannot be used; the message says why."""


def export(model: Any, folder: Path) -> None:
    """Writes graph.xml and graph.bin for an mmdet detector that is in eval mode on the CPU.

    Like the network, the graph takes any number of images of any size.

    Raises:
        GraphError: the detector has several stages, OpenVINO cannot express its network, or the graph gives
            other numbers than the network does.
    """
    import torch

    if not _has_one_stage(model):
        raise GraphError(f"{type(model).__name__} is not a detector of one stage")
    images = 255 * torch.rand(2, 3, PROBE_SIDE, PROBE_SIDE, generator=torch.Generator().manual_seed(0))
    try:
        _convert(model, images[:1], folder)
        with torch.no_grad():
            expected = model.forward_dummy(images)
        found = load(folder, _levels(model), torch.get_num_threads())(images)
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(f"OpenVINO has no graph for it: {' '.join(str(error).split())[:200]}") from error
    gap = _gap(expected, found)
    if not gap <= MAX_GAP:
        raise GraphError(f"the graph's outputs are off by {gap:.3g}, more than {MAX_GAP}")


def load(
    folder: Path,
    levels: int,
    threads: int,
    heads: "Sequence[Sequence[Layer]]" = (),
    side: int | None = None,
) -> "Callable[[torch.Tensor], Maps]":
    """Loads a folder's graph as a function from images (n, 3, height, width) to the head's maps.

    levels: the number of maps of each kind. heads: for each map, the convolutions that make it, from the last
    one backwards, in place of the graph's own; () leaves these. side: of the squares that images are, in
    pixels; None where they are of any size. A graph of one size takes a seventh less time for an image, and
    half as long for the first one. It takes one image at a time, since several at once are no quicker.

    Raises:
        GraphError: there is no graph, it cannot be read, or it does not end in such convolutions.
    """
    import torch

    run = _compiled(folder, threads, heads, side)
    of_any_size: list[Callable[[torch.Tensor], Maps]] = []

    def maps_of(images: torch.Tensor) -> "Maps":
        maps = [torch.from_numpy(value) for value in run(images.contiguous().numpy()).values()]
        return tuple(maps[start : start + levels] for start in range(0, len(maps), levels))

    def one_by_one(images: torch.Tensor) -> "Maps":
        if tuple(images.shape[2:]) != (side, side):
            if not of_any_size:
                of_any_size.append(load(folder, levels, threads, heads))
            return of_any_size[0](images)
        found = [maps_of(image[None]) for image in images]
        if len(found) == 1:
            return found[0]
        return tuple(list(map(torch.cat, zip(*kind, strict=True))) for kind in zip(*found, strict=True))

    return maps_of if side is None else one_by_one


def _compiled(folder: Path, threads: int, heads: "Sequence[Sequence[Layer]]", side: int | None) -> Any:
    """A folder's graph, compiled for one square image at a time, or for any number of any size."""
    import openvino

    try:
        core = openvino.Core()
        network = core.read_model(str(folder / XML))
        if heads:
            _replace_heads(network, heads)
        if side is not None:
            network.reshape([1, 3, side, side])
        return core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
                # A pinned thread has to wait while another program runs on its core.
                "ENABLE_CPU_PINNING": False,
            },
        )
    except RuntimeError as error:
        raise GraphError(f"{folder / XML} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _replace_heads(network: Any, heads: "Sequence[Sequence[Layer]]") -> None:
    """Gives the convolutions that make a graph's maps other weights. Each is followed by the addition of its
    bias, and those before the last by an activation, too.
    """
    from openvino import opset13

    results = network.get_results()
    if len(results) != len(heads):
        raise GraphError(f"a graph with {len(results)} maps, and a head for {len(heads)}")
    for result, layers in zip(results, heads, strict=True):
        node = result.input_value(0).get_node()
        for weight, bias in layers:
            while node.get_type_name() in _ACTIVATIONS:
                node = node.input_value(0).get_node()
            convolution = node.input_value(0).get_node()
            if node.get_type_name() != "Add" or convolution.get_type_name() not in _CONVOLUTIONS:
                raise GraphError("the layers of its head are not convolutions with a bias")
            if convolution.get_type_name() == "GroupConvolution":
                weight = weight[:, None]
            for changed, value in ((convolution, weight), (node, bias.reshape(1, -1, 1, 1))):
                changed.input(1).replace_source_output(opset13.constant(value).output(0))
            node = convolution.input_value(0).get_node()
    network.validate_nodes_and_infer_types()


def without_network(config: "Config") -> "Config":
    """A detector's config without backbone and neck, for `attach`."""
    from torch.nn import Identity

    bare = deepcopy(config)
    for part in {"backbone", "neck"} & set(bare.model):
        bare.model[part] = dict(type=Identity)
    return bare


def attach(
    model: Any,
    folder: Path,
    threads: int,
    heads: "Sequence[Sequence[Layer]]" = (),
    side: int | None = None,
) -> None:
    """Makes a folder's graph the network of an mmdet detector that was built from `without_network`.

    heads, side, Raises: as `load`.
    """
    model.bbox_head.forward = load(folder, _levels(model), threads, heads, side)


def _has_one_stage(model: Any) -> bool:
    from mmdet.models import SingleStageDetector

    return isinstance(model, SingleStageDetector)


def _levels(model: Any) -> int:
    return int(model.bbox_head.prior_generator.num_levels)


def _convert(model: Any, example: "torch.Tensor", folder: Path) -> None:
    import openvino
    import torch

    class Network(torch.nn.Module):
        """Returns the network's maps as one flat tuple, as OpenVINO cannot express tuples of lists."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(level for maps in self.model.forward_dummy(images) for level in maps)

    with same_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(Network().eval(), example_input=example, input=[-1, 3, -1, -1])
    openvino.save_model(graph, str(folder / XML), compress_to_fp16=False)


@contextmanager
def same_logging() -> Iterator[None]:
    """Restores the root logger afterwards, since OpenVINO's converter silences it for the whole process."""
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def _gap(expected: "Sequence[Sequence[torch.Tensor]]", found: "Sequence[Sequence[torch.Tensor]]") -> float:
    """The largest difference between two outputs; infinity when their shapes differ."""
    pairs = [pair for a, b in zip(expected, found, strict=True) for pair in zip(a, b, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float((a - b).abs().max()) for a, b in pairs)
