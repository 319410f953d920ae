"""Prints, as JSON, a digest of what mmcv's CPU operators give for made input, and of their gradients."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import mmcv._ext as extension
import numpy as np
import torch
from mmcv import ops

_RANDOM = torch.Generator().manual_seed(0)


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=_RANDOM)


def digest(results: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for result in results:
        array = result.detach().numpy() if torch.is_tensor(result) else np.asarray(result)
        assert array.size
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def with_gradients(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> list[torch.Tensor]:
    leaves = [given.clone().requires_grad_() for given in inputs]
    result = function(*leaves)
    result.backward(rand(*result.shape))
    return [result, *[leaf.grad for leaf in leaves if leaf.grad is not None]]


def boxes() -> dict[str, list[Any]]:
    corners, scores = rand(300, 4) * 100, rand(300)
    corners[:, 2:] += corners[:, :2]
    turned = torch.cat([rand(100, 2) * 50, rand(100, 2) * 30 + 1, rand(100, 1) * 3], 1)
    quads = corners[:80, [0, 1, 2, 1, 2, 3, 0, 3]]
    scored = torch.cat([corners, scores[:, None]], 1)
    return {
        "nms": ops.nms(corners, scores, 0.5),
        "soft_nms": ops.soft_nms(corners, scores, 0.5),
        "nms_match": [np.concatenate([np.asarray(kept) for kept in ops.nms_match(scored, 0.5)])],
        "nms_rotated": ops.nms_rotated(turned, scores[:100], 0.3),
        "nms_quadri": ops.nms_quadri(quads, scores[:80], 0.3),
        "box_iou_rotated": [ops.box_iou_rotated(turned, turned)],
        "box_iou_quadri": [ops.box_iou_quadri(quads, quads)],
    }


def features() -> dict[str, list[Any]]:
    maps, weights = rand(2, 8, 20, 20), rand(6, 8, 3, 3)
    offsets, masks = rand(2, 18, 20, 20) - 0.5, rand(2, 9, 20, 20)
    number = torch.arange(20.0)[:, None] // 10
    corners = rand(20, 4) * 10
    regions = torch.cat([number, corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], 1)
    turned = torch.cat([number, rand(20, 2) * 20, rand(20, 2) * 8 + 1, rand(20, 1) * 3], 1)
    spread = rand(2, 25, 6, 6)
    # For each rotation, where each weight of the filter goes: a place that nothing goes to is never written.
    places = [torch.randperm(8 * 3 * 3, generator=_RANDOM) + 1 for _ in range(8)]
    rotations = torch.stack(places, 1).reshape(8, 3, 3, 8).int()
    return {
        **{
            f"roi_align {mode}": with_gradients(
                lambda x, mode=mode: ops.roi_align(x, regions, (5, 5), 0.5, 2, mode, True), maps
            )
            for mode in ("avg", "max")
        },
        "roi_align_rotated": with_gradients(
            lambda x: ops.roi_align_rotated(x, turned, (5, 5), 0.5, 2, True, False), maps
        ),
        "rotated_feature_align": with_gradients(
            lambda x: ops.rotated_feature_align(x, rand(2, 20, 20, 5) * 10 + 1, 0.5, 1), maps
        ),
        "deform_conv2d": with_gradients(
            lambda x, o, w: ops.deform_conv2d(x, o, w, 1, 1, 1, 1, 1), maps, offsets, weights
        ),
        "modulated_deform_conv2d": with_gradients(
            lambda x, o, m, w: ops.modulated_deform_conv2d(x, o, m, w, None, 1, 1, 1, 1, 1),
            *(maps, offsets, masks, weights),
        ),
        **{
            f"psa_mask {way}": with_gradients(ops.PSAMask(way, (5, 5)), spread)
            for way in ("collect", "distribute")
        },
        "active_rotated_filter": with_gradients(
            lambda w: ops.active_rotated_filter(w, rotations), rand(4, 2, 8, 3, 3)
        ),
    }


def others() -> dict[str, list[Any]]:
    points, extent = rand(500, 4) * 10, [0, 0, 0, 10, 10, 10]
    kernels = (rand(3, 30, 30) > 0.5).numpy().astype(np.uint8)
    labels = torch.randint(0, 4, (30, 30), generator=_RANDOM).numpy().astype(np.int32)
    return {
        "voxelization": ops.Voxelization([0.5] * 3, extent, 5, 200, True)(points),
        "voxelization, dynamic": [ops.Voxelization([0.5] * 3, extent, -1, -1)(points)],
        "points_in_boxes_cpu": [ops.points_in_boxes_cpu(rand(1, 200, 3) * 5, rand(1, 6, 7) * 5)],
        "contour_expand": [np.asarray(ops.contour_expand(kernels, labels, 1, 3))],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    names = sorted(name for name in dir(extension) if not name.startswith("__"))
    found = {name: digest(results) for part in (boxes, features, others) for name, results in part().items()}
    signatures = [str(getattr(extension, name).__doc__) for name in names]
    print(json.dumps({"names": names, "signatures": signatures, "results": found}, indent=1))
