"""The simulated person's clicks: where she clicks, what she makes of the box that comes, and when she stops."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, iou_matrix
from trainer.judging.effort import Work
from trainer.simulate.options import Person

JITTER = 0.08
"""Standard deviation of a click's distance from an object's middle, as a share of the object's sides."""
_INSIDE = 0.45  # of the sides; no click is farther off, so each is on its object

Points = NDArray[np.float64]
Ask = Callable[[Points, Sequence[int], int], Boxes]
"""From points in pixels (N, 2), their labels, and how often it was clicked there before, to N boxes."""


@dataclass
class Experience:
    """What clicks have given so far, since the version in service changed.

    tried, right: by how often it was clicked at the place before, the numbers of clicks and of those that
    fetched a right box.
    """

    tried: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)

    def note(self, again: int, tried: int, right: int) -> None:
        while len(self.tried) <= again:
            self.tried.append(0)
            self.right.append(0)
        self.tried[again] += tried
        self.right[again] += right

    def chance(self, again: int) -> float:
        """The chance that such a click fetches a right box; one in two before any was tried.

        >>> experience = Experience()
        >>> experience.note(0, tried=8, right=2)
        >>> experience.chance(0), experience.chance(1)
        (0.3, 0.5)
        """
        tried, right = (values[again] if again < len(values) else 0 for values in (self.tried, self.right))
        return (right + 1) / (tried + 2)

    def pays(self, again: int, otherwise: Sequence[float], person: Person) -> NDArray[np.bool_]:
        """(N,): whether a click is expected to take less time than what is done without it.

        otherwise: (N,) seconds. A click that fails costs itself, the look at its box where it is one more,
        and what is done otherwise, then with a box to delete.
        """
        chance = self.chance(again)
        without = np.asarray(otherwise, dtype=np.float64)
        look = person.accept if again else 0.0
        failed = without if again else without + person.delete
        spent = look + person.click + chance * person.accept + (1 - chance) * failed
        return np.asarray(spent < without, dtype=bool)


def points(truth: Boxes, seed: int, name: str) -> Points:
    """(N, 2): where the person clicks on the true boxes of the image `name`, in pixels."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    off = np.clip(generator.normal(0.0, JITTER, (len(truth), 2)), -_INSIDE, _INSIDE)
    corners = truth.xyxy.astype(np.float64)
    return (corners[:, :2] + corners[:, 2:]) / 2 + off * (corners[:, 2:] - corners[:, :2])


def click(truth: Boxes, at: Points, ask: Ask, person: Person, experience: Experience) -> Work:
    """What it takes to get these true boxes, none of which has a box yet, by clicks and otherwise by hand.

    at: (N, 2), where she would click. A box is right at an IoU of accepted_iou or more. If it isn't, she
    clicks again for the next size, at most `clicks` times in all, or adjusts it from click_adjusted_iou on,
    or deletes it and draws, whichever she expects to take the least time.
    """
    work = Work()
    waiting = np.arange(len(truth))
    otherwise = np.full(len(truth), person.draw)
    for again in range(person.clicks):
        goes_on = experience.pays(again, otherwise, person)
        work += _stopped(otherwise[~goes_on], again, person)
        waiting, otherwise = waiting[goes_on], otherwise[goes_on]
        if not len(waiting):
            break
        mine = truth.select(waiting)
        came = ask(at[waiting], mine.labels.tolist(), again)
        overlap = np.diagonal(iou_matrix(came.xyxy, mine.xyxy))
        right = overlap >= person.accepted_iou
        experience.note(again, len(waiting), int(right.sum()))
        work += Work(clicked=int(right.sum()), reclicked=len(waiting) if again else 0)
        waiting = waiting[~right]
        anew = person.delete + person.draw
        near = overlap[~right] >= person.click_adjusted_iou
        otherwise = np.where(near & (person.adjust < anew), person.adjust, anew)
    else:
        work += _stopped(otherwise, person.clicks, person)
    return work


def _stopped(otherwise: NDArray[np.float64], clicks: int, person: Person) -> Work:
    """The work on objects for which she gives up clicking after so many clicks. otherwise: its seconds."""
    if not clicks:
        return Work(drawn=len(otherwise))
    drawn = int((otherwise == person.delete + person.draw).sum())
    return Work(click_adjusted=len(otherwise) - drawn, click_drawn=drawn)
