"""COCO's matching of detections to ground truth, fast enough for thousands of objects in an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

Row = dict[str, Any]


class Matching(COCOeval):  # type: ignore[misc]
    """pycocotools' COCOeval with the same results, whose time grows with the pairs that overlap.

    pycocotools compares every detection with every true box, once per IoU threshold, in Python: on an image
    with 2,000 of each that takes ten seconds or more. Here only true boxes are compared that overlap enough.
    """

    def evaluateImg(self, imgId: int, catId: int, aRng: Sequence[float], maxDet: int) -> Row | None:
        """The row of evalImgs for an image and a category; None without a true box and a detection."""
        truth: list[Row] = self._gts[imgId, catId]
        found: list[Row] = self._dts[imgId, catId]
        if not truth and not found:
            return None
        for box in truth:
            box["_ignore"] = int(bool(box["ignore"]) or not aRng[0] <= box["area"] <= aRng[1])
        counted_first = np.argsort([box["_ignore"] for box in truth], kind="mergesort")
        truth = [truth[index] for index in counted_first]
        best_first = np.argsort([-box["score"] for box in found], kind="mergesort")
        found = [found[index] for index in best_first[:maxDet]]
        overlaps = self.ious[imgId, catId]
        overlaps = np.asarray(overlaps)[:, counted_first] if len(overlaps) else np.zeros((len(found), 0))
        ignored = np.array([box["_ignore"] for box in truth], dtype=np.int64)
        crowds = np.array([bool(box["iscrowd"]) for box in truth], dtype=bool)
        partners = _partners(overlaps, ignored, crowds, self.params.iouThrs)

        matched = partners >= 0
        of_truth, of_found = np.array([box["id"] for box in truth]), np.array([box["id"] for box in found])
        dt_matches, gt_matches = np.zeros(partners.shape), np.zeros((len(partners), len(truth)))
        dt_ignore = np.zeros(partners.shape, dtype=bool)
        if len(truth):
            dt_matches[matched] = of_truth[partners[matched]]
            dt_ignore[matched] = ignored[partners[matched]] > 0
            threshold, detection = np.nonzero(matched)
            gt_matches[threshold, partners[matched]] = of_found[detection]
        outside = np.array([not aRng[0] <= box["area"] <= aRng[1] for box in found], dtype=bool)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": of_found.tolist(),
            "gtIds": of_truth.tolist(),
            "dtMatches": dt_matches,
            "gtMatches": gt_matches,
            "dtScores": [box["score"] for box in found],
            "gtIgnore": ignored,
            "dtIgnore": dt_ignore | (~matched & outside),
        }


def _partners(
    overlaps: NDArray[np.float64],
    ignored: NDArray[np.int64],
    crowds: NDArray[np.bool_],
    thresholds: Sequence[float],
) -> NDArray[np.int64]:
    """Each detection's true box per threshold, (T, D) indices; -1 for none.

    overlaps: (D, G), the detections by falling score. A detection takes the free box with the highest IoU, of
    equal ones the last, and one that is to be ignored only if no other is left. A crowd stays free.
    """
    partners = np.full((len(thresholds), len(overlaps)), -1, dtype=np.int64)
    detections, boxes = np.nonzero(overlaps >= min(*thresholds, 1.0) - 1e-10)
    near = np.split(boxes, np.searchsorted(detections, np.arange(1, len(overlaps))))
    for t, threshold in enumerate(thresholds):
        taken = np.zeros(overlaps.shape[1], dtype=bool)
        least = min(threshold, 1 - 1e-10)
        for d in np.unique(detections):
            best, iou = -1, least
            for g in near[d]:
                if taken[g] and not crowds[g]:
                    continue
                if best >= 0 and not ignored[best] and ignored[g]:
                    break
                if overlaps[d, g] >= iou:
                    best, iou = g, overlaps[d, g]
            if best >= 0:
                partners[t, d], taken[best] = best, True
    return partners
