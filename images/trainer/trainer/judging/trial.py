"""A promoted version's trial: it and the one before it, on images that were labelled after the promotion.

Neither was trained on these images. If the former version's boxes take less time to correct, as surely as the
gate asks for, the former comes back by itself. That is looked at three times, since whoever looks after each
image finds what chance shows.

The next promotion ends a trial, be it decided or not. Where it was not, nobody knows whether the former
version had been worth its promotion, so the last one that had stood its trial is compared, too.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from labelloop.files import write_text
from trainer.judging.corrections import Corrections
from trainer.judging.effort import Costs, Work
from trainer.judging.gate import in_words, probability_quicker
from trainer.rounds.folder import TRIAL
from trainer.words import plural

LOOKS = (5, 10, 20)
"""After so many images the two are compared."""


class Outcome(StrEnum):
    """open: there are too few images yet. stays: the version has stood its trial. undone: an earlier one came
    back. off: a person has chosen a version since, or the former is gone.
    """

    OPEN = "open"
    STAYS = "stays"
    UNDONE = "undone"
    OFF = "off"


class Trial(BaseModel):
    """What trial.json in the round's folder holds.

    proven: the last version that had stood its trial, where `former` had not; else None. tasks: those whose
    images were compared, in the order in which they were labelled. before, after, with_proven: the
    corrections on each with the former version, with the promoted one and with the proven one. left_out:
    tasks of which the image does not count. looks: how often they were compared. reason: the outcome in
    words. back: the version that came back; None where none did, and in what earlier releases wrote, which
    knew the former alone.
    """

    version: str
    former: str
    proven: str | None = None
    tasks: list[int] = Field(default_factory=list)
    before: Corrections = Corrections(rows=[])
    after: Corrections = Corrections(rows=[])
    with_proven: Corrections = Corrections(rows=[])
    left_out: list[int] = Field(default_factory=list)
    looks: int = 0
    outcome: Outcome = Outcome.OPEN
    reason: str = ""
    back: str | None = None

    @classmethod
    def load(cls, round_dir: Path) -> Self | None:
        """The trial; None when there is none yet, or it is damaged."""
        try:
            return cls.model_validate_json((round_dir / TRIAL).read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, round_dir: Path) -> None:
        write_text(round_dir / TRIAL, self.model_dump_json() + "\n")

    @property
    def rivals(self) -> tuple[str, ...]:
        """The versions that may come back."""
        return (self.former, self.proven) if self.proven else (self.former,)

    @property
    def comes_back(self) -> str:
        """The version that came back, where one did."""
        return self.back or self.former

    def without_proven(self) -> Self:
        """The former version's trial alone."""
        return self.model_copy(update={"proven": None, "with_proven": Corrections(rows=[])})

    @property
    def wanted(self) -> int:
        """How many images are missing until the next look."""
        return LOOKS[self.looks] - len(self.tasks) if self.looks < len(LOOKS) else 0

    @property
    def so_far(self) -> str:
        """How far it is, in words; empty where it is over or nothing was compared yet.

        >>> Trial(version="v0002", former="v0001", tasks=[7]).so_far
        'on trial: compared with v0001 on 1 image labelled since, decided after 5, 10 or 20'
        """
        if self.outcome is not Outcome.OPEN or not self.tasks:
            return ""
        images = plural(len(self.tasks), "image")
        compared = f"compared with {' and '.join(self.rivals)} on {images} labelled since"
        *early, last = LOOKS
        return f"on trial: {compared}, decided after {', '.join(map(str, early))} or {last}"

    def with_image(self, task: int, work: Mapping[str, Work] | None) -> Self:
        """With one more image. work: by version; None where the image does not count."""
        if work is None:
            return self.model_copy(update={"left_out": [*self.left_out, task]})

        def and_one(so_far: Corrections, version: str | None) -> Corrections:
            return so_far + Corrections.of([work[version]]) if version else so_far

        return self.model_copy(
            update={
                "tasks": [*self.tasks, task],
                "before": and_one(self.before, self.former),
                "after": and_one(self.after, self.version),
                "with_proven": and_one(self.with_proven, self.proven),
            }
        )

    def looked_at(self, costs: Costs, confidence: float) -> Self:
        """The trial after the looks for which there are enough images.

        confidence: GATE_CONFIDENCE.
        """
        found = self
        while found.outcome is Outcome.OPEN and found.looks < len(LOOKS) and found.wanted <= 0:
            found = found._look(costs, confidence)
        return found

    def _look(self, costs: Costs, confidence: float) -> Self:
        count = LOOKS[self.looks]
        after = self.after.seconds(costs)[:count]
        times = dict(zip(self.rivals, (self.before, self.with_proven), strict=False))
        seconds = {rival: rows.seconds(costs)[:count] for rival, rows in times.items()}
        sure = {rival: probability_quicker(mine, after) for rival, mine in seconds.items()}
        quicker = [r for r in seconds if seconds[r].mean() < after.mean() and sure[r] >= confidence]
        looked = {"looks": self.looks + 1}
        images = f"on {plural(count, 'image')} labelled since"
        if quicker:
            back = min(quicker, key=lambda rival: float(seconds[rival].mean()))
            told = _told({back: seconds[back], self.version: after})
            reason = f"taken back: {images}, {told} ({in_words(sure[back])})"
            undone = {"outcome": Outcome.UNDONE, "reason": reason, "back": back}
            return self.model_copy(update={**looked, **undone})
        if looked["looks"] == len(LOOKS):
            reason = f"it stays: {images}, {_told({**seconds, self.version: after})}"
            return self.model_copy(update={**looked, "outcome": Outcome.STAYS, "reason": reason})
        return self.model_copy(update=looked)


def _told(seconds: Mapping[str, NDArray[np.float64]]) -> str:
    """What correcting an image takes with each version.

    >>> _told({"v0000": np.array([3.0, 4.0]), "v0001": np.array([2.0])})
    'v0000 takes 3.5 s to correct one, v0001 2.0 s'
    """
    first, *others = (f"{float(each.mean()):.1f} s" for each in seconds.values())
    names = [*seconds]
    rest = [f"{name} {time}" for name, time in zip(names[1:], others, strict=True)]
    return ", ".join([f"{names[0]} takes {first} to correct one", *rest])
