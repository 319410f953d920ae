"""Prints, as JSON, a digest of what mmcv's CPU operators give for made input, and of their gradients."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import mmcv._ext as extension
import numpy as np
import torch
from mmcv import ops

from trainer.gpu_check import operators
from trainer.gpu_check.operators import Made, with_gradients


def digest(results: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for result in results:
        array = result.detach().numpy() if torch.is_tensor(result) else np.asarray(result)
        assert array.size
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def boxes() -> dict[str, list[Any]]:
    rand = Made(2)
    corners, scores = operators.boxes(Made())
    turned = torch.cat([rand(100, 2) * 50, rand(100, 2) * 30 + 1, rand(100, 1) * 3], 1)
    quads = corners[:80, [0, 1, 2, 1, 2, 3, 0, 3]]
    scored = torch.cat([corners, scores[:, None]], 1)
    return {
        "soft_nms": ops.soft_nms(corners, scores, 0.5),
        "nms_match": [np.concatenate([np.asarray(kept) for kept in ops.nms_match(scored, 0.5)])],
        "nms_rotated": ops.nms_rotated(turned, scores[:100], 0.3),
        "nms_quadri": ops.nms_quadri(quads, scores[:80], 0.3),
        "box_iou_rotated": [ops.box_iou_rotated(turned, turned)],
        "box_iou_quadri": [ops.box_iou_quadri(quads, quads)],
    }


def features() -> dict[str, list[Any]]:
    rand = Made(3)
    maps = rand(2, 8, 20, 20)
    number = torch.arange(20.0)[:, None] // 10
    turned = torch.cat([number, rand(20, 2) * 20, rand(20, 2) * 8 + 1, rand(20, 1) * 3], 1)
    spread = rand(2, 25, 6, 6)
    # For each rotation, where each weight of the filter goes: a place that nothing goes to is never written.
    random = torch.Generator().manual_seed(0)
    places = [torch.randperm(8 * 3 * 3, generator=random) + 1 for _ in range(8)]
    rotations = torch.stack(places, 1).reshape(8, 3, 3, 8).int()
    return {
        "roi_align_rotated": with_gradients(
            lambda x: ops.roi_align_rotated(x, turned, (5, 5), 0.5, 2, True, False), maps
        ),
        "rotated_feature_align": with_gradients(
            lambda x: ops.rotated_feature_align(x, rand(2, 20, 20, 5) * 10 + 1, 0.5, 1), maps
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
    rand, random = Made(4), torch.Generator().manual_seed(0)
    points, extent = rand(500, 4) * 10, [0, 0, 0, 10, 10, 10]
    kernels = (rand(3, 30, 30) > 0.5).numpy().astype(np.uint8)
    labels = torch.randint(0, 4, (30, 30), generator=random).numpy().astype(np.int32)
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
    found |= {name: digest(run()) for name, run in operators.cases("cpu").items()}
    signatures = [str(getattr(extension, name).__doc__) for name in names]
    print(json.dumps({"names": names, "signatures": signatures, "results": found}, indent=1))
