"""The simulated person's clicks: where, what she makes of the box that comes, and when she gives up."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from labelloop.boxes import Boxes, Floats, iou_matrix
from trainer.judging.click_places import Points, near_middles
from trainer.judging.effort import CLICK_RIGHT, Work
from trainer.simulate.options import Person

PRIOR_CLICKS = 12
"""Before she has clicked, she expects of clicks what she would after so many, of which CLICK_RIGHT were
right. With fewer, by the careful table a single click in vain would end all clicking."""


@dataclass(frozen=True)
class Click:
    """A click on an image. at: (2,), in pixels. label: the one that is chosen. again: how often it was
    clicked there before. there: the boxes of the image so far, as far as the editor has saved them.
    """

    at: Points
    label: int
    again: int
    there: Boxes


Ask = Callable[[Click], Floats]
"""From a click to the box that comes, (4,) in pixels; without an area where none comes."""


@dataclass
class Experience:
    """What clicks have given in a batch of images, and what she knew of them before.

    tried, right: by how often it was clicked at the place before, the numbers of clicks and of those that
    fetched a right box. mended_s: the seconds that all boxes took that a first click did not get right, if
    they were adjusted or drawn then. before: the same of earlier batches; None in the first.
    """

    tried: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    mended_s: float = 0.0
    before: "Experience | None" = None

    def note(self, again: int, right: bool, mended_s: float) -> None:
        """Takes one click. mended_s: what follows if it is the last one; nothing where it was right."""
        while len(self.tried) <= again:
            self.tried.append(0)
            self.right.append(0)
        self.tried[again] += 1
        self.right[again] += right
        self.mended_s += 0.0 if again or right else mended_s

    def carried_on(self, version_changed: bool) -> "Experience":
        """What she brings to the next batch.

        Another version has other eyes, so of its first clicks she knows nothing yet. A further click at the
        same place asks for the next size, which is right or wrong for these objects as before.

        >>> experience = Experience([4, 2], [3, 0], mended_s=3.5)
        >>> kept, other = (experience.carried_on(version_changed=changed) for changed in (False, True))
        >>> kept.before == experience, other.before == Experience([0, 2], [0, 0]), kept.tried, other.tried
        (True, True, [], [])
        """
        known = self._in_all()
        if version_changed:
            first = known.tried[:1] and [0]
            known = Experience(first + known.tried[1:], first + known.right[1:])
        return Experience(before=known)

    def chance(self, again: int) -> float:
        """The chance that such a click fetches a right box; two in three before any was tried.

        >>> experience = Experience()
        >>> for right in (True, False, False, False):
        ...     experience.note(0, right, mended_s=8.0)
        >>> round(experience.chance(0), 2), round(experience.chance(1), 2)
        (0.56, 0.67)
        """
        known = self._in_all()
        tried, right = (values[again] if again < len(values) else 0 for values in (known.tried, known.right))
        return (right + CLICK_RIGHT * PRIOR_CLICKS) / (tried + PRIOR_CLICKS)

    def pays(self, again: int, otherwise_s: float, person: Person) -> bool:
        """Whether a click is expected to take less time than what is done instead.

        Before another click at a place she has looked at what is there. After a failed first click she does
        what she did after earlier ones; after a further one what she would have done without it.
        """
        chance = self.chance(again)
        failed_s, look = otherwise_s, person.accept
        if not again:
            look = 0.0
            known = self._in_all()
            wrong = known.tried[0] - known.right[0] if known.tried else 0
            failed_s = (known.mended_s + person.delete + person.draw) / (wrong + 1)
        return look + person.click + chance * person.accept + (1 - chance) * failed_s < otherwise_s

    def _in_all(self) -> "Experience":
        """This batch and what was before, as one."""
        before = self.before or Experience()
        pairs = ((self.tried, before.tried), (self.right, before.right))
        tried, right = ([sum(both) for both in zip_longest(*pair, fillvalue=0)] for pair in pairs)
        return Experience(tried, right, self.mended_s + before.mended_s)


def points(truth: Boxes, seed: int, name: str) -> Points:
    """(N, 2): where the person clicks on the true boxes of the image `name`, in pixels."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return near_middles(truth.xyxy, generator)


def fetch(
    truth: Boxes, lacking: Sequence[int], at: Points, ask: Ask, person: Person, experience: Experience
) -> Work:
    """What it takes to get boxes for those true ones that lack one, by clicks and otherwise by hand.

    lacking: indices into truth. at: (N, 2), where she would click on each of truth's N boxes. One object
    comes after the other; the one that is done last is not saved yet when the next is clicked.
    """
    work = Work()
    saved = sorted({*range(len(truth))} - {*lacking})
    for number, index in enumerate(lacking):
        there = truth.select(np.array([*saved, *lacking[: max(0, number - 1)]], dtype=np.int64))
        mine = truth.select(np.array([index]))
        work += _one(mine, at[index], there, ask, person, experience)
    return work


def _one(truth: Boxes, at: Points, there: Boxes, ask: Ask, person: Person, experience: Experience) -> Work:
    """What one object takes.

    A box is right at an IoU of accepted_iou or more. If it isn't, she clicks again for the next size, at most
    `clicks` times in all, or adjusts it from click_adjusted_iou on, or deletes it and draws, whichever she
    expects to take the least time.
    """
    anew_s = person.delete + person.draw
    otherwise_s, spent = person.draw, Work(drawn=1)
    for again in range(person.clicks):
        if not experience.pays(again, otherwise_s, person):
            return spent
        came = ask(Click(at, int(truth.labels[0]), again, there))
        iou = iou_matrix(truth.xyxy, came[None, :])[0, 0]
        right = bool(iou >= person.accepted_iou)
        adjusts = bool(iou >= person.click_adjusted_iou) and person.adjust < anew_s
        otherwise_s = person.adjust if adjusts else anew_s
        experience.note(again, right, otherwise_s)
        if right:
            return Work(clicked=1, reclicked=again)
        spent = Work(click_adjusted=int(adjusts), click_drawn=int(not adjusts), reclicked=again)
    return spent
