"""A detector's network computed in 16 bits, where a GPU is quicker so: mixed precision."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labelloop.card import Card

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FULL = "fp32"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
# Heads of convolutions alone. Others compute coordinates in `forward`, for which 16 bits are too few.
_PLAIN_HEADS = ("YOLOXHead", "FCOSHead", "RetinaHead", "ATSSHead", "GFLHead")


def choices(device: str) -> tuple[str, ...]:
    """The precisions of 16 bits that a device computes in, the best for training first; () on a CPU.

    bf16 has fp32's range and fewer digits; fp16 has more digits, and its gradients must be scaled.
    """
    import torch

    if not device.startswith("cuda"):
        return ()
    return ("bf16", "fp16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp16",)


def has_operators(model: Any) -> bool:
    """Whether a network has mmcv's own operators, such as RoIAlign and deformable convolutions.

    They read and write memory as if it were in the default format, whatever it is: in channels last they give
    other numbers without a word. And they know no bf16.
    """
    return any(type(module).__module__.startswith("mmcv.ops.") for module in model.modules())


def can_mix(model: Any) -> bool:
    """Whether a detector's backbone and neck can compute in 16 bits."""
    parts = [getattr(model, name, None) for name in ("backbone", "neck")]
    return not any(part is not None and has_operators(part) for part in parts)


def mix(model: Any, precision: str, device: str, with_head: bool = True) -> None:
    """Has a detector's backbone and neck, and a head of convolutions alone, compute in 16 bits.

    model: mmdet's detector, for which `can_mix` holds. What they give is float32, so that boxes, losses and
    what mmdet does between the stages stay in 32 bits. with_head: False leaves the head in 32 bits, too.
    """
    import torch

    dtype, kind = getattr(torch, _DTYPES[precision]), device.partition(":")[0]
    model.extract_feat = _in_16_bits(model.extract_feat, dtype, kind)
    head = getattr(model, "bbox_head", None)
    if with_head and type(head).__name__ in _PLAIN_HEADS:
        head.forward = _in_16_bits(head.forward, dtype, kind)  # type: ignore[union-attr]


def prepare_to_serve(model: Any, card: Card | None, device: str, with_head: bool = True) -> None:
    """On a GPU, has a detector compute as fast as it may: channels last, and in the precision in which its
    version was found to give the same boxes (`Card.precision`). On a CPU nothing changes.

    with_head: False where the head is another than the version's, whose boxes nobody has compared.
    """
    import torch

    if not device.startswith("cuda"):
        return
    if not has_operators(model):
        model.to(memory_format=torch.channels_last)
    wanted = "" if card is None else card.precision.partition(";")[0]
    if wanted not in _DTYPES:
        return
    if wanted in choices(device) and can_mix(model):
        mix(model, wanted, device, with_head)
    else:
        log.warning("a version was checked in %s, in which this GPU does not compute: it serves fp32", wanted)


def _in_16_bits(function: Callable[..., Any], dtype: "torch.dtype", kind: str) -> Callable[..., Any]:
    import torch

    def run(*arguments: Any) -> Any:
        with torch.autocast(kind, dtype):
            found = function(*arguments)
        return _in_32_bits(found)

    return run


def _in_32_bits(found: Any) -> Any:
    import torch

    if isinstance(found, torch.Tensor):
        return found.float()
    return type(found)(_in_32_bits(part) for part in found) if isinstance(found, list | tuple) else found
