"""Detections matched to ground truth, so that the average precision of any resample of images is fast.

The measure is COCO's: ten IoU thresholds .50:.05:.95, precision interpolated at 101 recalls, all box sizes
together. COCO counts at most 100 detections per image and label; here it is evaluate.MAX_DETECTIONS.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from labelloop.boxes import Boxes, iou_matrix, shares_inside
from trainer.dataset.labelled import SnapshotImage

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)

# IOU_THRESHOLDS[4] is 0.7. A person leaves a box with this IoU or more as it is.
ACCEPTED = 4

Numbers = NDArray[Any]


def _as_array(kind: str) -> PlainValidator:
    return PlainValidator(lambda values: np.asarray(values, dtype=kind))


_to_list = PlainSerializer(lambda array: array.tolist(), return_type=list)
Ints = Annotated[Numbers, _as_array("int64"), _to_list]
Floats = Annotated[Numbers, _as_array("float64"), _to_list]


class ClassMatches(BaseModel):
    """One class on N images, its D detections sorted by falling score.

    truths: (N,) boxes of the ground truth per image. image: (D,) index of the image. score: (D,) 0..1.
    hits: (D,) bit t is set when the detection is right at IOU_THRESHOLDS[t].
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    truths: Ints
    image: Ints
    score: Floats
    hits: Ints

    def right(self) -> NDArray[np.bool_]:
        """(thresholds, D): whether each detection is right at each threshold."""
        bits = np.arange(len(IOU_THRESHOLDS))[:, None]
        return np.asarray((self.hits[None, :] >> bits) & 1, dtype=bool)

    def average_precision(self, weights: Numbers) -> NDArray[np.float64]:
        """Average precision over the thresholds, (R,); NaN where no image has a true box.

        weights: (R, N), not negative; in resample r image n counts weights[r, n] times.
        """
        right = self.right()
        truths = weights @ self.truths
        result = np.full(len(weights), np.nan)
        for r in np.flatnonzero(truths > 0):
            result[r] = _interpolated(right, weights[r, self.image], truths[r]).mean()
        return result

    def average_precision_50(self) -> float:
        """Average precision at an IoU of 0.5 on the images without resampling; NaN without a true box."""
        if not self.truths.sum():
            return float("nan")
        once = np.ones(len(self.score))
        return float(_interpolated(self.right()[:1], once, float(self.truths.sum()))[0])


def _interpolated(right: NDArray[np.bool_], weight: Numbers, truths: float) -> NDArray[np.float64]:
    """Mean precision at RECALLS for each threshold, (T,); right: (T, D), weight: (D,).

    Precision falls with every wrong detection, so only the right ones can be the best from a recall on.
    """
    seen = np.cumsum(weight)
    result = np.zeros(len(right))
    for t, row in enumerate(right):
        hits = np.flatnonzero(row)
        hit = np.cumsum(weight[hits])
        precision = hit / np.maximum(seen[hits], np.finfo(float).tiny)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        position = np.searchsorted(hit / truths, RECALLS, side="left")
        result[t] = envelope[position[position < len(hits)]].sum() / len(RECALLS)
    return result


def without_ignored(found: Boxes, image: SnapshotImage, classes: int) -> Boxes:
    """The detections without those more than half of which lies in an ignored box of the image, and which are
    on no true box of their label. `evaluate.match` leaves out the same ones.
    """
    if not image.ignored or not len(found):
        return found
    labels, corners = zip(*image.ignored, strict=True)
    ignored = Boxes.of(corners, [1.0] * len(labels), labels)
    truth = Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
    mine = (ignored.labels[None, :] == found.labels[:, None]) | (ignored.labels >= classes)
    inside = (shares_inside(found.xyxy, ignored.xyxy) > IOU_THRESHOLDS[0]) & mine
    same = truth.labels[None, :] == found.labels[:, None]
    on_truth = (iou_matrix(found.xyxy, truth.xyxy) >= IOU_THRESHOLDS[0]) & same
    return found.select(~inside.any(axis=1) | on_truth.any(axis=1))


def mean_average_precision(classes: Sequence[ClassMatches], weights: Numbers) -> NDArray[np.float64]:
    """mAP over the classes that have a true box, (R,) for weights (R, N); NaN where none has one."""
    per_class = np.stack([matches.average_precision(weights) for matches in classes])
    counted = ~np.isnan(per_class)
    count = counted.sum(axis=0)
    total = np.where(counted, per_class, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def resamples(images: int, count: int, seed: int) -> NDArray[np.float64]:
    """How often each image is drawn in `count` bootstrap samples, (count, images); the seed decides."""
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(images, np.full(images, 1 / images), size=count)
    return np.asarray(draws, dtype=np.float64)
