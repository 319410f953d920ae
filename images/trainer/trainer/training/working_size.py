"""Chooses how closely a round's model looks at images, by the sizes of the labelled boxes.

A network sees every image at one size, and objects that are small at that size are neither found nor learnt.
Looking closer costs time, so only models of small objects do. A detector's config (configs/detectors/) says
what there is to choose from:

    loop = dict(
        train_size=320, test_size=352, iterations=220,
        closer=[dict(train_size=512, test_size=448, iterations=144, model=dict(input_size=(512, 512)))],
    )

Each of `closer` replaces what it names of `loop`, and its `model` replaces parts of the detector's. They
stand in the order of their test_size. A look with `memory_gb` is taken only where the trainer may take so
much memory. A detector without `closer` has one look.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labelloop.detector import DetectorError
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage

if TYPE_CHECKING:
    from mmcv import Config

ENOUGH_PX = 32
"""The side that the typical box of every label should have at test_size, in pixels."""
FEWEST_BOXES = 5
"""A label with fewer boxes has no typical size yet."""
KEPT_UP_TO = 1.15
"""The typical box may be this much larger than ENOUGH_PX before a model that looks closely looks less so."""


def looks(config: "Config", memory_gb: float = float("inf")) -> list[int | None]:
    """The test_size of each look for which this memory suffices, the detector's own first; None where its
    makers' size is used.
    """
    loop = config.get("loop", {})
    fitting = (closer for closer in loop.get("closer", ()) if closer.get("memory_gb", 0) <= memory_gb)
    return [loop.get("test_size"), *(closer["test_size"] for closer in fitting)]


def choose(
    images: Iterable[SnapshotImage],
    config: "Config",
    before: int | None = None,
    memory_gb: float = float("inf"),
) -> int | None:
    """The first look at which the typical box of every label has ENOUGH_PX, else the closest one.

    before: the test_size of the version whose training goes on. A look as close as that is kept while boxes
    are no larger than KEPT_UP_TO times what is enough, so that rounds do not change their look to and fro.
    memory_gb: what the trainer may take.
    """
    there = looks(config, memory_gb)
    least = smallest_typical(images)
    if least is None or len(there) == 1:
        return there[0]
    for size in there[:-1]:
        factor = KEPT_UP_TO if before in there and _closer(before, size) else 1.0
        if size is not None and least * size >= ENOUGH_PX * factor:
            return size
    return there[-1]


def smallest_typical(images: Iterable[SnapshotImage]) -> float | None:
    """How large the boxes of the label with the smallest ones are; None without a box.

    It is the median of their sides (the root of the area) as a share of the longer side of their images.
    Labels with less than FEWEST_BOXES are left out, unless all have so few.
    """
    sides: defaultdict[int, array[float]] = defaultdict(lambda: array("f"))
    for image in map(junk.without, images):
        longer = max(image.width, image.height)
        for label, (x1, y1, x2, y2) in image.boxes:
            sides[label].append(((x2 - x1) * (y2 - y1)) ** 0.5 / longer)
    counted: Sequence[array[float]] = [found for found in sides.values() if len(found) >= FEWEST_BOXES]
    return min((float(np.median(found)) for found in counted or sides.values()), default=None)


def take_look(config: "Config", size: int | None) -> None:
    """Changes a detector's config to the look with this test_size; None leaves the detector's own.

    Raises:
        DetectorError: it has no such look.
    """
    loop = config.get("loop", {})
    if size is None or size == loop.get("test_size"):
        return
    for closer in loop.get("closer", ()):
        if closer["test_size"] == size:
            loop.update({key: value for key, value in closer.items() if key not in ("model", "memory_gb")})
            _update(config.model, closer.get("model", {}))
            return
    there = ", ".join(map(str, looks(config)))
    raise DetectorError(
        f"the round was to look at images at {size} px, and the detector's config has {there}: put that look "
        "back into `closer`, or start a new round by `make retrain`"
    )


def _closer(before: int | None, size: int | None) -> bool:
    return before is not None and size is not None and before > size


def _update(part: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        part[key] = value
