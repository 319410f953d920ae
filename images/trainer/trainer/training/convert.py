"""Converts other makers' checkpoints to mmdet's keys."""

import re
from collections.abc import Mapping

import torch

from labelloop.errors import Explained

State = Mapping[str, torch.Tensor]


class ConversionError(Explained):
    """The weights are not those of the network that they are said to be."""


# Megvii's module paths (left) and mmdet's, outermost first. Both build YOLOX from the same layers in the same
# order.
_MEGVII_MODULES = (
    (r"^backbone\.backbone\.stem\.", "backbone.stem."),
    (r"^backbone\.backbone\.dark(\d)\.", lambda match: f"backbone.stage{int(match[1]) - 1}."),
    (r"^backbone\.lateral_conv0\.", "neck.reduce_layers.0."),
    (r"^backbone\.reduce_conv1\.", "neck.reduce_layers.1."),
    (r"^backbone\.C3_p4\.", "neck.top_down_blocks.0."),
    (r"^backbone\.C3_p3\.", "neck.top_down_blocks.1."),
    (r"^backbone\.bu_conv2\.", "neck.downsamples.0."),
    (r"^backbone\.bu_conv1\.", "neck.downsamples.1."),
    (r"^backbone\.C3_n3\.", "neck.bottom_up_blocks.0."),
    (r"^backbone\.C3_n4\.", "neck.bottom_up_blocks.1."),
    (r"^head\.stems\.", "neck.out_convs."),
    (r"^head\.(cls|reg)_convs\.", r"bbox_head.multi_level_\1_convs."),
    (r"^head\.(cls|reg|obj)_preds\.", r"bbox_head.multi_level_conv_\1."),
)
_CSP_LAYER = re.compile(
    r"((?:backbone\.stage[123]\.1|backbone\.stage4\.2|neck\.(?:top_down|bottom_up)_blocks\.\d)\.)(.*)"
)
_CSP_PARTS = (
    ("conv1.", "main_conv."),
    ("conv2.", "short_conv."),
    ("conv3.", "final_conv."),
    ("m.", "blocks."),
)
_TORCHVISION_CLASSIFIER = "classifier."


def is_megvii(state: State) -> bool:
    return any(key.startswith("backbone.backbone.") for key in state)


def from_megvii(state: State) -> dict[str, torch.Tensor]:
    """Megvii's YOLOX weights in mmdet's keys."""
    return {_from_megvii(key): value for key, value in state.items()}


def _from_megvii(key: str) -> str:
    for pattern, replacement in _MEGVII_MODULES:
        key, count = re.subn(pattern, replacement, key)
        if count:
            break
    csp = _CSP_LAYER.fullmatch(key)
    if csp:
        part = csp[2]
        for theirs, ours in _CSP_PARTS:
            if part.startswith(theirs):
                part = ours + part.removeprefix(theirs)
                break
        key = csp[1] + part
    return key.replace(".dconv.", ".depthwise_conv.").replace(".pconv.", ".pointwise_conv.")


def from_torchvision_mobilenet(state: State, backbone: State) -> dict[str, torch.Tensor]:
    """torchvision's MobileNetV2 weights in mmdet's keys. The tensors correspond in order; the classifier is
    dropped.

    backbone: the state_dict of mmdet's MobileNetV2.

    Raises:
        ConversionError: the two networks do not correspond.
    """
    theirs = [(key, value) for key, value in state.items() if not key.startswith(_TORCHVISION_CLASSIFIER)]
    if len(theirs) != len(backbone):
        raise ConversionError(
            f"not torchvision's MobileNetV2: {len(theirs)} tensors, mmdet's has {len(backbone)}"
        )
    converted = {}
    for (their_key, value), (key, expected) in zip(theirs, backbone.items(), strict=True):
        if value.shape != expected.shape or their_key.rsplit(".", 1)[1] != key.rsplit(".", 1)[1]:
            raise ConversionError(
                f"not torchvision's MobileNetV2: {their_key} {tuple(value.shape)} does not fit {key}"
            )
        converted[key] = value
    return converted
