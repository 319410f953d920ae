"""The parts of the dashboard that keep state or run work. There is one of each in a process."""

from dataclasses import dataclass
from typing import Self

from trainer.dashboard.actions import PreLabelling
from trainer.dashboard.labels_now import LabelsNow
from trainer.dashboard.ledger import Ledger
from trainer.dashboard.looking import Looking
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import People


@dataclass(frozen=True)
class Parts:
    """people: those who may log in. pre_labelling, looking: work that buttons have begun. labels_now: what
    became of labels since a look. ledger: what people did.
    """

    loop: WatchedLoop
    people: People
    pre_labelling: PreLabelling
    looking: Looking
    labels_now: LabelsNow
    ledger: Ledger

    @classmethod
    def of(cls, loop: WatchedLoop) -> Self:
        return cls(
            loop, People(loop.studio), PreLabelling(loop), Looking(loop), LabelsNow(loop.studio), Ledger(loop)
        )

    def stop(self) -> None:
        """Ends the work that buttons have begun."""
        self.pre_labelling.stop()
        self.looking.stop()
