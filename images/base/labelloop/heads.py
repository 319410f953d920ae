"""The convolutions of a YOLOX head, as a graph has them: batch normalisation is a part of their weights."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelloop.graph import Layer


def is_yolox(head: object) -> bool:
    """Whether a detector's head is mmdet's YOLOXHead, the only one that can be learnt at once."""
    return type(head).__name__ == "YOLOXHead"


def yolox_layers(head: Any) -> "list[list[Layer]]":
    """For each map of the head, in the order in which it returns them, the convolutions that make it, from
    the last one backwards.

    head: mmdet's YOLOXHead. A layer is a weight (rows, columns, height, width) and a bias (rows,), float32.
    """
    kinds = (
        (head.multi_level_conv_cls, head.multi_level_cls_convs),
        (head.multi_level_conv_reg, head.multi_level_reg_convs),
        (head.multi_level_conv_obj, head.multi_level_reg_convs),
    )
    return [
        [_layer(last, None), *reversed(list(_layers(before)))]
        for lasts, befores in kinds
        for last, before in zip(lasts, befores, strict=True)
    ]


def _layers(modules: Any) -> "Iterator[Layer]":
    """The convolutions of mmcv's ConvModules and DepthwiseSeparableConvModules, in their order."""
    for module in modules:
        for part in (module.depthwise_conv, module.pointwise_conv) if _is_separable(module) else (module,):
            yield _layer(part.conv, part.norm if part.with_norm else None)


def _is_separable(module: Any) -> bool:
    return hasattr(module, "depthwise_conv")


def _layer(convolution: Any, norm: Any) -> "Layer":
    import torch

    with torch.no_grad():
        weight = convolution.weight
        bias = convolution.bias if convolution.bias is not None else weight.new_zeros(len(weight))
        if norm is not None:
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale.reshape(-1, 1, 1, 1)
            bias = (bias - norm.running_mean) * scale + norm.bias
        return weight.float().cpu().numpy(), bias.float().cpu().numpy()
