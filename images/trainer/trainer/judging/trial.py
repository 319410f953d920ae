"""A promoted version's trial: it and the one before it, on images that were labelled after the promotion.

Neither was trained on these images. If the former version's boxes take less time to correct, as surely as the
gate asks for, the former comes back by itself. That is looked at three times, since whoever looks after each
image finds what chance shows.
"""

from enum import StrEnum
from pathlib import Path
from typing import Self

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
    """open: there are too few images yet. stays: the version has stood its trial. undone: the former came
    back. off: a person has chosen a version since, or one of the two is gone.
    """

    OPEN = "open"
    STAYS = "stays"
    UNDONE = "undone"
    OFF = "off"


class Trial(BaseModel):
    """What trial.json in the round's folder holds.

    tasks: those whose images were compared, in the order in which they were labelled. before, after: the
    corrections on each with the former version and with the promoted one. left_out: tasks of which the image
    does not count. looks: how often the two were compared. reason: the outcome in words.
    """

    version: str
    former: str
    tasks: list[int] = Field(default_factory=list)
    before: Corrections = Corrections(rows=[])
    after: Corrections = Corrections(rows=[])
    left_out: list[int] = Field(default_factory=list)
    looks: int = 0
    outcome: Outcome = Outcome.OPEN
    reason: str = ""

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
        compared = f"compared with {self.former} on {images} labelled since"
        *early, last = LOOKS
        return f"on trial: {compared}, decided after {', '.join(map(str, early))} or {last}"

    def with_image(self, task: int, work: tuple[Work, Work] | None) -> Self:
        """With one more image. work: with the former version and with the new one; None where it does not
        count.
        """
        if work is None:
            return self.model_copy(update={"left_out": [*self.left_out, task]})
        before, after = (Corrections.of([each]) for each in work)
        return self.model_copy(
            update={
                "tasks": [*self.tasks, task],
                "before": self.before + before,
                "after": self.after + after,
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
        before, after = (side.seconds(costs)[:count] for side in (self.before, self.after))
        p = probability_quicker(before, after)
        told = (
            f"on {plural(count, 'image')} labelled since, {self.former} takes {before.mean():.1f} s to "
            f"correct one, {self.version} {after.mean():.1f} s"
        )
        looked = {"looks": self.looks + 1}
        if before.mean() < after.mean() and p >= confidence:
            reason = f"taken back: {told} ({in_words(p)})"
            return self.model_copy(update={**looked, "outcome": Outcome.UNDONE, "reason": reason})
        if looked["looks"] == len(LOOKS):
            return self.model_copy(update={**looked, "outcome": Outcome.STAYS, "reason": f"it stays: {told}"})
        return self.model_copy(update=looked)
