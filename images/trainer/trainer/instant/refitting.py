"""The champion's own boxes, from the scores on that the newest labels call for.

A version's thresholds were fitted on a hold-out of a few images, and a starting model's on none. Each image
that is submitted later, and that it was not trained on, tells more of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from labelloop.boxes import Boxes
from labelloop.card import REFITTED
from labelloop.instant import HEAD
from labelloop.registry import ProjectModels
from trainer.dataset.labelled import SnapshotImage
from trainer.instant.base import Base, bytes_of
from trainer.instant.notes import Notes
from trainer.judging.effort import Costs
from trainer.judging.thresholds import Candidates
from trainer.words import plural

MOST_IMAGES = 24
"""So many of the newest images count."""
MOVED = 0.05
"""A threshold that has moved by less than this share is the same."""


@dataclass
class Refitted:
    """A champion whose thresholds follow the newest labels.

    own: by label, the thresholds of its card. start: those from which they move; after a restart those that
    had been reached. judged: images that it was not trained on, and the boxes that it found there, the newest
    last. version: the instant version that was written last, None before there is one; shown: that one's
    thresholds.
    """

    base: Base
    own: list[float]
    start: list[float]
    judged: list[tuple[SnapshotImage, Boxes]] = field(default_factory=list)
    version: str | None = None
    shown: list[float] = field(default_factory=list)

    def go_on(self, notes: Notes) -> None:
        """Begins where the newest instant version's notes say that the thresholds were."""
        names = zip(self.base.classes, self.own, strict=True)
        self.start = [notes.refitted.get(name, value) for name, value in names]

    def note(self, image: SnapshotImage, found: Boxes) -> None:
        self.judged = [*self.judged, (image, found)][-MOST_IMAGES:]

    def thresholds(self, costs: Costs, click_right: float, usual: float) -> list[float]:
        """By label. click_right: the chance that a click fetches a right box. usual: SCORE_THRESHOLD."""
        if not self.judged:
            return self.start
        images, found = zip(*self.judged, strict=True)
        return Candidates.of(len(self.start), images, found, costs, click_right).refitted(self.start, usual)

    def stand_in(self, models: ProjectModels, thresholds: list[float], notes: Notes) -> str | None:
        """The instant version with the champion's own boxes at these thresholds, which is written unless it
        is there; None while the champion's own thresholds do. notes: what it is to tell later processes.

        Raises:
            RegistryError: the champion's weights are damaged. OSError: a file cannot be written.
        """
        if not have_moved(self.own, thresholds):
            return None
        there = self.version is not None and (models.instant.folder(self.version) / HEAD).is_file()
        if there and not have_moved(self.shown, thresholds):
            return self.version
        champion, images = self.base.champion, plural(len(self.judged), "image")
        change = {
            "start_weights": champion,
            "verdict": REFITTED,
            "reason": f"{champion}'s own boxes, by thresholds that {images} labelled since have moved",
            "score_thresholds": dict(zip(self.base.classes, thresholds, strict=True)),
            "instant": notes.model_dump(),
            "created_at": datetime.now(UTC),
        }
        head = bytes_of(self.base.own_head(models))
        self.version = models.instant.write(champion, self.base.card.model_copy(update=change), head)
        self.shown = thresholds
        return self.version


def have_moved(before: Sequence[float], now: Sequence[float]) -> bool:
    """Whether one of the thresholds is another than before.

    >>> have_moved([0.3, 0.2], [0.3, 0.201]), have_moved([0.3, 0.2], [0.25, 0.2])
    (False, True)
    """
    was = np.asarray(before)
    return bool((np.abs(np.asarray(now) - was) > MOVED * was).any())
