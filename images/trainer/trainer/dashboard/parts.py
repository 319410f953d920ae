"""The parts of a dashboard that remember something, or have something done; one of each in a process."""

from dataclasses import dataclass
from typing import Self

from trainer.dashboard.actions import PreLabelling
from trainer.dashboard.ledger import Ledger
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import People
from trainer.dashboard.predictions import Looking


@dataclass(frozen=True)
class Parts:
    """people: who may come in. pre_labelling, looking: what buttons have begun. ledger: what people did."""

    loop: WatchedLoop
    people: People
    pre_labelling: PreLabelling
    looking: Looking
    ledger: Ledger

    @classmethod
    def of(cls, loop: WatchedLoop) -> Self:
        return cls(loop, People(loop.studio), PreLabelling(loop), Looking(loop), Ledger(loop))

    def stop(self) -> None:
        """Ends what buttons have begun."""
        self.pre_labelling.stop()
        self.looking.stop()
