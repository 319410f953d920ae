"""What a person's clicks would fetch on an image, had it no proposals."""

from collections.abc import Iterable, Sequence

import numpy as np

from labelloop.box_sizes import Sizes, Usual
from labelloop.boxes import iou_matrix
from labelloop.detector import Detector
from labelloop.labels import LabelConfig
from labelloop.pointing import Pointed, choices, weights_for
from labelloop.raw_boxes import RawBoxes
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.click_places import near_middles
from trainer.judging.corrections import ACCEPTED_IOU, true_boxes

MOST_CLICKS = 12
"""It is tried on so many objects of an image at most."""


def clicked(
    detector: Detector,
    raw: RawBoxes,
    image: SnapshotImage,
    config: LabelConfig,
    known: Iterable[SnapshotImage],
) -> tuple[int, int]:
    """On how many objects of an image a click is tried, and how many of these fetch a right box.

    detector: has not learnt from the image. raw: what it sees there. known: the labelled images whose boxes'
    sizes are known. The backend answers clicks by the same rules; here without its closer look at what the
    image doesn't show.
    """
    truth, size = true_boxes(image), (image.width, image.height)
    draw = np.random.default_rng(image.task)
    tried = draw.permutation(len(truth))[:MOST_CLICKS]
    if not len(tried):
        return 0, 0
    sizes, right = _sizes(known, config.names), 0
    trained = detector.card is not None and detector.card.trained
    to_label = detector.label_map(config).to_label if trained else ()
    for index, at in zip(tried.tolist(), near_middles(truth.xyxy[tried], draw).tolist(), strict=True):
        label, point = int(truth.labels[index]), Pointed(*at)
        weights = weights_for(raw, [number for number, one in enumerate(to_label) if one == label])
        usual = Usual.among(sizes, config.names[label])
        first = choices(point, [raw], [weights], usual, size).xyxy[:1]
        right += bool(iou_matrix(truth.xyxy[[index]], first)[0, 0] >= ACCEPTED_IOU)
    return len(tried), right


def _sizes(images: Iterable[SnapshotImage], names: Sequence[str]) -> Sizes:
    """By label, the sizes of the images' boxes."""
    found: dict[str, list[list[float]]] = {}
    for image in images:
        longer = max(image.width, image.height)
        for (x1, y1, x2, y2), label in zip(image.xyxy, image.labels, strict=True):
            if x2 > x1 and y2 > y1:
                found.setdefault(names[label], []).append([(x2 - x1) / longer, (y2 - y1) / longer])
    return {name: np.array(rows, dtype=np.float64) for name, rows in found.items()}
