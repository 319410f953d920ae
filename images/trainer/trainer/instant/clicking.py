"""What a person's clicks would fetch on an image, had it no proposals."""

from collections.abc import Iterable, Sequence

import numpy as np

from labelloop.box_sizes import Sizes, Usual
from labelloop.boxes import iou_matrix
from labelloop.detector import Detector
from labelloop.images import Pixels
from labelloop.labels import LabelConfig
from labelloop.pointing import Pointed, choices, weights_for
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.corrections import ACCEPTED_IOU, true_boxes

MOST_CLICKS = 12
"""It is tried on so many objects of an image at most."""
OFF_CENTRE = 0.08
"""How far from an object's middle it clicks, as a share of its sides (a standard deviation)."""
_INSIDE = 0.45


def clicked(
    detector: Detector,
    pixels: Pixels,
    image: SnapshotImage,
    config: LabelConfig,
    known: Iterable[SnapshotImage],
) -> tuple[int, int]:
    """On how many objects of an image a click is tried, and how many of these fetch a right box.

    detector: has not learnt from the image. known: the labelled images whose boxes' sizes are known. The
    backend answers clicks by the same rules; here without its closer look at what the image doesn't show.
    """
    truth, (height, width) = true_boxes(image), pixels.shape[:2]
    draw = np.random.default_rng(image.task)
    tried = draw.permutation(len(truth))[:MOST_CLICKS]
    if not len(tried):
        return 0, 0
    (raw,) = detector.raw([pixels])
    sizes, right = _sizes(known, config.names), 0
    trained = detector.card is not None and detector.card.trained
    to_label = detector.label_map(config).to_label if trained else ()
    for index in tried.tolist():
        label, (x1, y1, x2, y2) = int(truth.labels[index]), truth.xyxy[index].tolist()
        off = np.clip(draw.normal(0.0, OFF_CENTRE, 2), -_INSIDE, _INSIDE)
        point = Pointed((x1 + x2) / 2 + off[0] * (x2 - x1), (y1 + y2) / 2 + off[1] * (y2 - y1))
        weights = weights_for(raw, [at for at, one in enumerate(to_label) if one == label])
        usual = Usual.among(sizes, config.names[label])
        first = choices(point, [raw], [weights], usual, (width, height)).xyxy[:1]
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
