"""Click to box: what a person points at becomes a box of her label that sits on the object."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.box_sizes import SIZES_FILE, SizesBook, Usual, sizes_in
from labelloop.boxes import Boxes, Floats, iou_matrix
from labelloop.fetched import MARK
from labelloop.files import stamp_of
from labelloop.images import ImageError, Pixels
from labelloop.labels import LabelConfig
from labelloop.pointing import ANOTHER_IOU, Choices, Pointed, choices, usual_box, weights_for
from labelloop.raw_boxes import RawBoxes
from labelloop.regions import to_results
from labelloop.registry import Registry
from mlbackend.champion import Champion
from mlbackend.hints import Asked, Hint
from mlbackend.loading import Task
from mlbackend.looks_kept import Look, LooksKept

log = logging.getLogger(__name__)

SMALL = 0.1
"""Where the whole image shows nothing, objects whose usual side is a smaller share of the image's longer side
get a closer look."""
CROP_SIDES = 6
LEAST_CROP_PX = 64
MOST_PLACES = 1000
SAME_PLACE = 0.15
"""Two clicks of the same place are at most this share of the answered box's shorter side apart."""
LEAST_REACH_PX = 3.0
_UNKNOWN_SIZE = (1000, 1000)


class Clicks:
    """Answers clicks. Any thread may ask."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._looks = LooksKept()
        self._sizes = _SizesRead()
        self._answered = _Answered()

    def answer(
        self, project_id: int, champion: Champion | None, task: Task, config: LabelConfig, asked: Asked
    ) -> dict[str, Any]:
        """One prediction, with a rectangle for each hint under the hint's id. It is never an error.

        champion: None when no model serves. An image that can't be read, or a model that fails, leaves the
        box in the label's usual size.
        """
        look, crop = self._look(champion, task, config)
        sizes = self._known_sizes(project_id, task, config, asked)
        regions: list[dict[str, Any]] = []
        for hint in asked.hints:
            size = look.size if look is not None else hint.original or _UNKNOWN_SIZE
            usual = Usual.among(sizes, config.labels[hint.label].value)
            at = hint.pointed(size, usual.side * max(size) if usual is not None else None)
            found = self._choices(champion, look, crop, at, hint, usual, config)
            place = (project_id, str(task.get("id")), hint.label)
            chosen = self._answered.choose(place, at, found, asked.again)
            box = Boxes.of(found.xyxy[[chosen]], found.scores[[chosen]], [hint.label])
            regions += _region(box, hint, config, size, champion)
        scores = [region["score"] for region in regions]
        version = champion.version if champion is not None else ""
        return {"result": regions, "score": min(scores, default=0.0), "model_version": version}

    def _look(
        self, champion: Champion | None, task: Task, config: LabelConfig
    ) -> "tuple[Look | None, _Pixels | None]":
        """What the model sees in the image, and where its pixels are for a closer look."""
        if champion is None:
            return None, None
        try:
            stamp = champion.stamp(task, config)
            look = self._looks.get(stamp)
            if look is None:
                with _pixels(champion, task, config) as pixels:
                    # Somebody may have looked while this one waited.
                    look = self._looks.get(stamp) or Look.of(pixels, *champion.raw([pixels]))
                self._looks.keep(stamp, look)
        except (ImageError, OSError) as error:
            log.warning("a click on an image that cannot be read: %s", error)
            return None, None
        except Exception:
            log.exception("a click for which the model failed")
            return None, None
        return look, _Pixels(champion, task, config, look)

    def _choices(
        self,
        champion: Champion | None,
        look: Look | None,
        pixels: "_Pixels | None",
        at: Pointed,
        hint: Hint,
        usual: Usual | None,
        config: LabelConfig,
    ) -> Choices:
        size = look.size if look is not None else hint.original or _UNKNOWN_SIZE
        if champion is None or look is None or pixels is None:
            return Choices(usual_box(at, usual, size), np.zeros(1, dtype=np.float32))
        weights = [_weights(champion, look.raw, hint.label, config)]
        found = choices(at, [look.raw], weights, usual, size)
        crop = _crop(at, usual, size)
        if found.scores[0] > 0 or crop is None:
            return found
        try:
            with pixels.read() as whole:
                closer = _closer(champion, whole, crop, size)
        except Exception:
            log.exception("a closer look failed")
            return found
        weights.append(_weights(champion, closer, hint.label, config))
        return choices(at, [look.raw, closer], weights, usual, size)

    def _known_sizes(
        self, project_id: int, task: Task, config: LabelConfig, asked: Asked
    ) -> dict[str, NDArray[np.float64]]:
        """The sizes of each label's boxes: of labelled images, and of this image so far."""
        folder = self._registry.project(project_id).path
        known = dict(self._sizes.of(folder / SIZES_FILE))
        hinted = {hint.id for hint in asked.hints}
        for label, rows in _drawn(task, config, hinted).items():
            here = np.array(rows, dtype=np.float64)
            known[label] = np.concatenate([known[label], here]) if label in known else here
        return known


@dataclass(frozen=True)
class _Pixels:
    """The pixels of an image that was looked at: kept ones, or read again."""

    champion: Champion
    task: Task
    config: LabelConfig
    look: Look

    def read(self) -> AbstractContextManager[Pixels]:
        """For the block."""
        if self.look.pixels is not None:
            return nullcontext(self.look.pixels)
        return _pixels(self.champion, self.task, self.config)


@contextmanager
def _pixels(champion: Champion, task: Task, config: LabelConfig) -> Iterator[Pixels]:
    with champion.image(task, config) as image:
        if image.pixels is None:
            raise ImageError(f"{image.name}: {image.error}")
        yield image.pixels


def _crop(at: Pointed, usual: Usual | None, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of a closer look at a small object; None where none helps."""
    longer = max(size)
    side = float(np.sqrt(at.size[0] * at.size[1])) if at.size is not None else None
    if side is None and usual is not None:
        side = usual.side * longer
    if side is None or side >= SMALL * longer:
        return None
    around = max(CROP_SIDES * side, LEAST_CROP_PX)
    width, height = min(int(around), size[0]), min(int(around), size[1])
    left = int(np.clip(at.x - width / 2, 0, size[0] - width))
    top = int(np.clip(at.y - height / 2, 0, size[1] - height))
    return left, top, width, height


def _closer(
    champion: Champion, pixels: Pixels, crop: tuple[int, int, int, int], size: tuple[int, int]
) -> RawBoxes:
    left, top, width, height = crop
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    (raw,) = champion.raw([part])
    return raw.cropped(left, top, width, height, size)


def _weights(champion: Champion, raw: RawBoxes, label: int, config: LabelConfig) -> NDArray[np.float32]:
    """(N,): how much each raw box speaks for the label, where the model has learnt it; else 1 for all."""
    mapped = champion.label_map(config).to_label if champion.trained else ()
    return weights_for(raw, [at for at, one in enumerate(mapped) if one == label])


def _drawn(task: Task, config: LabelConfig, hinted: set[str]) -> dict[str, list[list[float]]]:
    """By label, the sizes of the boxes that are in the image's drafts and annotations already."""
    found: dict[str, list[list[float]]] = {}
    for kind in ("annotations", "drafts"):
        rows = task.get(kind)
        for row in rows if isinstance(rows, list) else ():
            results = row.get("result") if isinstance(row, Mapping) else None
            for label, sizes in sizes_in(results, config, hinted).items():
                found.setdefault(label, []).extend(sizes)
    return found


def _region(
    boxes: Boxes, hint: Hint, config: LabelConfig, size: tuple[int, int], champion: Champion | None
) -> list[dict[str, Any]]:
    meta = {"from": MARK, "version": champion.version if champion is not None else ""}
    return [
        {**region, "id": hint.id or region["id"], "origin": "prediction", "meta": meta}
        for region in to_results(boxes, config, *size)
    ]


class _SizesRead:
    """The projects' sizes.json, each read again when it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], Mapping[str, NDArray[np.float64]]]] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> Mapping[str, NDArray[np.float64]]:
        with self._lock:
            stamp = stamp_of(path)
            if stamp is None:
                self._known.pop(path, None)
                return {}
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = stamp, SizesBook(path).by_label()
            return known[1]


Place = tuple[int, str, int]


@dataclass(frozen=True)
class _Last:
    """What was answered last at a place.

    x, y: of its first click, in pixels. reach: how far from it a click is still of the same place. offered:
    (N, 4), the boxes so far.
    """

    x: float
    y: float
    reach: float
    offered: Floats


class _Answered:
    """What was answered last, by project, task and label, so that a click at the same place gets the next."""

    def __init__(self) -> None:
        self._last: OrderedDict[Place, _Last] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, place: Place, at: Pointed, found: Choices, again: int | None) -> int:
        """The index of the choice. again: which is wanted; None: what the memory says.

        A rough box says itself which size is meant, so the best one is given each time.
        """
        if again is not None:
            return again % len(found)
        if at.size is not None:
            return 0
        with self._lock:
            last = self._last.pop(place, None)
            if last is not None and np.hypot(at.x - last.x, at.y - last.y) > last.reach:
                last = None
            new = _others(found, last.offered) if last is not None else range(len(found))
            chosen = next(iter(new), 0)
            box = found.xyxy[[chosen]]
            if last is None or not len(new):
                reach = max(SAME_PLACE * float((box[0, 2:] - box[0, :2]).min()), LEAST_REACH_PX)
                self._last[place] = _Last(at.x, at.y, reach, box)
            else:
                self._last[place] = replace(last, offered=np.concatenate([last.offered, box]))
            while len(self._last) > MOST_PLACES:
                self._last.popitem(last=False)
        return chosen


def _others(found: Choices, offered: Floats) -> Sequence[int]:
    """The choices of other sizes than those that were offered: a click two pixels off may order them anew."""
    overlaps = iou_matrix(found.xyxy, offered).max(axis=1)
    return [int(at) for at in np.flatnonzero(overlaps < ANOTHER_IOU)]
