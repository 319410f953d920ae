"""The simulated person's clicks: where, what she makes of the box that comes, and when she gives up."""

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
Seconds = NDArray[np.float64]
Ask = Callable[[Points, Sequence[int], int], Boxes]
"""From points in pixels (N, 2), their labels, and how often it was clicked there before, to N boxes."""


@dataclass
class Experience:
    """What clicks have given so far, since the version in service changed.

    tried, right: by how often it was clicked at the place before, the numbers of clicks and of those that
    fetched a right box. mended_s: the seconds that all boxes took that a first click did not get right, if
    they were adjusted or drawn then.
    """

    tried: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    mended_s: float = 0.0

    def note(self, again: int, tried: int, right: int, mended_s: float) -> None:
        while len(self.tried) <= again:
            self.tried.append(0)
            self.right.append(0)
        self.tried[again] += tried
        self.right[again] += right
        self.mended_s += 0.0 if again else mended_s

    def chance(self, again: int) -> float:
        """The chance that such a click fetches a right box; two in three before any was tried.

        >>> experience = Experience()
        >>> experience.note(0, tried=9, right=2, mended_s=50.0)
        >>> round(experience.chance(0), 2), round(experience.chance(1), 2)
        (0.33, 0.67)
        """
        tried, right = (values[again] if again < len(values) else 0 for values in (self.tried, self.right))
        return (right + 2) / (tried + 3)

    def pays(self, again: int, otherwise: Seconds, person: Person) -> NDArray[np.bool_]:
        """(N,): whether a click is expected to take less time than `otherwise`, (N,): what is done instead.

        Before another click at a place she has looked at what is there. After a failed first click she does
        what she did after earlier ones; after a further one what she would have done without it.
        """
        chance = self.chance(again)
        failed: Seconds | float = otherwise
        look = person.accept
        if not again:
            look = 0.0
            wrong = self.tried[0] - self.right[0] if self.tried else 0
            failed = (self.mended_s + person.delete + person.draw) / (wrong + 1)
        spent = look + person.click + chance * person.accept + (1 - chance) * failed
        return np.asarray(spent < otherwise, dtype=bool)


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
        work += Work(clicked=int(right.sum()), reclicked=len(waiting) if again else 0)
        waiting, tried = waiting[~right], len(waiting)
        anew = person.delete + person.draw
        near = overlap[~right] >= person.click_adjusted_iou
        otherwise = np.where(near & (person.adjust < anew), person.adjust, anew)
        experience.note(again, tried, int(right.sum()), float(otherwise.sum()))
    else:
        work += _stopped(otherwise, person.clicks, person)
    return work


def _stopped(otherwise: Seconds, clicks: int, person: Person) -> Work:
    """The work on objects for which she gives up clicking after so many clicks. otherwise: its seconds."""
    if not clicks:
        return Work(drawn=len(otherwise))
    drawn = int((otherwise == person.delete + person.draw).sum())
    return Work(click_adjusted=len(otherwise) - drawn, click_drawn=drawn)
