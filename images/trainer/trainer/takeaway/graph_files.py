"""Writes a model with all around its network as a file that a runtime loads."""

import warnings
from pathlib import Path
from typing import Any

import torch

from labelloop.graph import same_logging
from trainer.takeaway.forms import ABOUT, Format
from trainer.takeaway.whole import Whole

OPSET = 17
EXAMPLE = (2, 96, 128, 3)
OUTPUTS = ("boxes", "scores", "labels")


def write_graph(whole: Whole, form: Format, folder: Path) -> None:
    """Writes a model with all around its network as one of the forms but MMDET."""
    jit: Any = torch.jit
    example = torch.zeros(EXAMPLE, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings(), same_logging():
        warnings.simplefilter("ignore")
        if form is Format.TORCHSCRIPT:
            jit.trace(whole, (example,), check_trace=False).save(str(folder / ABOUT[form].model))
            return
        axes = {name: {0: "images"} for name in OUTPUTS}
        # The newer exporter wants one more package, and does not follow sizes computed from the image's.
        torch.onnx.export(
            whole,
            (example,),
            str(folder / ABOUT[Format.ONNX].model),
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_axes={"images": {0: "images", 1: "height", 2: "width"}, **axes},
        )
    if form is Format.OPENVINO:
        to_openvino(folder)


def to_openvino(folder: Path) -> None:
    """Replaces a folder's model.onnx by OpenVINO's model.xml and model.bin."""
    import openvino

    onnx = folder / ABOUT[Format.ONNX].model
    with same_logging():
        graph = openvino.convert_model(str(onnx))
        openvino.save_model(graph, str(folder / ABOUT[Format.OPENVINO].model), compress_to_fp16=False)
    onnx.unlink()
