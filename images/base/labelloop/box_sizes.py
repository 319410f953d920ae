"""How large the boxes of a label are: what the trainer writes down, and what a click expects.

A size is (width, height) in shares of the longer side of the box's image, so that images of all resolutions
count alike.
"""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Floats
from labelloop.files import write_text
from labelloop.labels import LabelConfig
from labelloop.regions import read_regions

log = logging.getLogger(__name__)

SIZES_FILE = "sizes.json"
MOST = 60
"""So many sizes are kept of a label, the newest."""

# A label's boxes, and the labels, are taken to be this different in size and in shape, as logarithms, until
# they tell.
_SIZES_DIFFER, _SHAPES_DIFFER = 0.5, 0.7
_AS_MANY_BOXES = 3
_AS_MANY_LABELS = 1
_ALWAYS = 0.12

_DIFFER = np.array([_SIZES_DIFFER, _SHAPES_DIFFER]) ** 2
_TO_SIZE_AND_SHAPE = np.array([[0.5, 1.0], [0.5, -1.0]])

Sizes = Mapping[str, NDArray[np.float64]]


def sizes_in(
    results: object, config: LabelConfig, without: Collection[str] = ()
) -> dict[str, list[list[float]]]:
    """By label, the sizes of the boxes in an annotation's or a draft's results.

    without: the ids of regions that don't count. What is no box of the config doesn't count either.
    """
    found: dict[str, list[list[float]]] = {}
    for region in results if isinstance(results, list) else ():
        if not isinstance(region, Mapping) or str(region.get("id")) in without:
            continue
        boxes = read_regions([region], config).boxes
        if not len(boxes):
            continue
        longer = max(int(region["original_width"]), int(region["original_height"]))
        sides = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]) / longer
        for label, side in zip(boxes.labels.tolist(), sides.tolist(), strict=True):
            shares = [round(value, 5) for value in side]
            if min(shares) > 0:  # else the image is not as large as the region says
                found.setdefault(config.names[label], []).append(shares)
    return found


class SizesBook:
    """A project's sizes.json: by task, the sizes of its boxes, so that corrected ones replace what they were.

    path: of the file. known: False where it is missing or damaged, and so holds nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        read = _read(path)
        self.known = read is not None
        self._tasks: dict[str, dict[str, list[list[float]]]] = read or {}

    def note(self, tasks: Iterable[tuple[int, dict[str, list[list[float]]]]]) -> None:
        """Takes the sizes of tasks, the newest last; writes the file if it is missing or anything is new."""
        before = json.dumps(self._tasks)
        for task, sizes in tasks:
            self._tasks.pop(str(task), None)
            if sizes:
                self._tasks[str(task)] = {label: rows[-MOST:] for label, rows in sizes.items()}
        self._forget()
        if json.dumps(self._tasks) != before or not self.known:
            write_text(self._path, json.dumps({"tasks": self._tasks}) + "\n")
            self.known = True

    def by_label(self) -> dict[str, NDArray[np.float64]]:
        """(n, 2) by label, the newest last."""
        found: dict[str, list[list[float]]] = {}
        for sizes in self._tasks.values():
            for label, rows in sizes.items():
                found.setdefault(label, []).extend(rows)
        return {label: np.array(rows[-MOST:], dtype=np.float64) for label, rows in found.items()}

    def _forget(self) -> None:
        """Drops the tasks of which every label has MOST newer boxes."""
        seen: dict[str, int] = {}
        for task in reversed(list(self._tasks)):
            sizes = self._tasks[task]
            if all(seen.get(label, 0) >= MOST for label in sizes):
                del self._tasks[task]
            for label, rows in sizes.items():
                seen[label] = seen.get(label, 0) + len(rows)


def _read(path: Path) -> dict[str, dict[str, list[list[float]]]] | None:
    try:
        tasks = json.loads(path.read_bytes())["tasks"]
        return {
            str(task): {str(label): [_size(row) for row in rows] for label, rows in sizes.items()}
            for task, sizes in tasks.items()
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read, the sizes are learnt anew: %s", path, error)
        return None


def _size(row: Any) -> list[float]:
    width, height = (float(side) for side in row)
    if not (0 < width <= 1 and 0 < height <= 1):
        raise ValueError(f"{row} is no size in shares of an image")
    return [width, height]


@dataclass(frozen=True)
class Usual:
    """What is expected of a box's size.

    size: width and height of the usual box. spread: how far boxes differ from it, in size and in shape, as
    standard deviations of logarithms.
    """

    size: tuple[float, float]
    spread: tuple[float, float]

    @classmethod
    def among(cls, sizes: Sizes, label: str) -> "Usual | None":
        """What boxes of a label let expect beside those of the others. sizes: (n, 2) by label."""
        return cls.of(sizes.get(label), [rows for other, rows in sizes.items() if other != label])

    @classmethod
    def of(
        cls, sizes: NDArray[np.float64] | None, others: Iterable[NDArray[np.float64]] = ()
    ) -> "Usual | None":
        """What boxes of these sizes (n, 2) let expect; None without any. others: those of each other label.

        Few boxes say little about how far others differ, so the spread begins wide and narrows with each. A
        project's labels are often alike in that, and sometimes in size: so far as they are, the boxes of
        others count where a label has few of its own (a normal model of groups, with empirical priors).
        """
        own = _Group.of(sizes)
        beside = [group for group in map(_Group.of, others) if group is not None]
        known = sum(group.count for group in beside)
        within = (sum(group.squares for group in beside) + _AS_MANY_BOXES * _DIFFER) / (
            known + _AS_MANY_BOXES
        )
        if own is not None:
            within = (own.squares + _AS_MANY_BOXES * within) / (own.count + _AS_MANY_BOXES)
        middles = [group.middle for group in beside]
        if own is None:
            if not middles:
                return None
            middle = np.mean(middles, axis=0)
            variance = within + _between(middles)
        elif not middles:
            middle, variance = own.middle, within * (1 + 1 / own.count)
        else:
            mine, between = within / own.count, _between([own.middle, *middles])
            share = mine / (mine + between)
            middle = own.middle + share * (np.mean(middles, axis=0) - own.middle)
            variance = within + mine * (1 - share)
        width, height = np.exp(middle @ np.linalg.inv(_TO_SIZE_AND_SHAPE)).tolist()
        spread = np.sqrt(variance + _ALWAYS**2)
        return cls((width, height), (float(spread[0]), float(spread[1])))

    def likelihood(self, sides: Floats) -> Floats:
        """For each of the sizes (N, 2), the logarithm of how likely it is, 0 for the usual size: (N,)."""
        apart = (np.log(sides) - np.log(self.size)) @ _TO_SIZE_AND_SHAPE
        return np.asarray(-0.5 * ((apart / self.spread) ** 2).sum(axis=1), dtype=np.float32)

    @property
    def side(self) -> float:
        """Of a square as large as the usual box."""
        return float(np.sqrt(self.size[0] * self.size[1]))


@dataclass(frozen=True)
class _Group:
    """The boxes of a label, as logarithms of size and shape. middle: (2,), their medians. squares: (2,), the
    sums of squared distances from these.
    """

    count: int
    middle: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, sizes: NDArray[np.float64] | None) -> "_Group | None":
        if sizes is None or not len(sizes):
            return None
        logs = np.log(sizes)
        middle = np.median(logs, axis=0) @ _TO_SIZE_AND_SHAPE
        return cls(len(sizes), middle, ((logs @ _TO_SIZE_AND_SHAPE - middle) ** 2).sum(axis=0))


def _between(middles: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(2,): the variance of labels' middles, which begins wide, too."""
    apart = ((np.array(middles) - np.mean(middles, axis=0)) ** 2).sum(axis=0)
    return np.asarray((apart + _AS_MANY_LABELS * _DIFFER) / (len(middles) - 1 + _AS_MANY_LABELS))
