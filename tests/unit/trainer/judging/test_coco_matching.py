"""Our matching beside pycocotools' own."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer.judging.coco_matching import Matching


def document(boxes: np.ndarray, crowds: np.ndarray, scores: np.ndarray | None) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "ball"}]}
    coco.dataset["annotations"] = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": int(crowds[number - 1]),
            **({} if scores is None else {"score": float(scores[number - 1])}),
        }
        for number, box in enumerate(boxes, 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def scene(seed: int) -> tuple[COCO, COCO]:
    """Boxes on a coarse grid, so that many overlap and many tie; some are crowds."""
    rng = np.random.default_rng(seed)
    truths, found = int(rng.integers(0, 25)), int(rng.integers(0, 60))
    boxes = rng.integers(0, 12, (truths + found, 4)) * 4.0
    boxes[:, 2:] += 8.0
    crowds = rng.random(truths) < 0.2
    scores = np.round(rng.random(found), 1)
    return document(boxes[:truths], crowds, None), document(boxes[truths:], np.zeros(found), scores)


def rows(kind: type[COCOeval], seed: int, areas: list[list[float]]) -> list[dict[str, Any] | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = kind(*scene(seed), iouType="bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = areas, ["some"] * len(areas)
        evaluation.params.maxDets = [40]
        evaluation.evaluate()
    return list(evaluation.evalImgs)


@pytest.mark.parametrize("seed", range(60))
def test_the_rows_are_pycocotools_own(seed: int) -> None:
    """All that pycocotools gives: pairs, ties, crowds, boxes that are too many, areas that don't count."""
    areas = [[0, 1e10], [300, 1200]]
    for ours, theirs in zip(rows(Matching, seed, areas), rows(COCOeval, seed, areas), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours.keys() == theirs.keys()
            for key in theirs:
                np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
