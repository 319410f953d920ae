"""The parts of the dashboard that keep state or run work. There is one of each in a process."""

from dataclasses import dataclass
from typing import Self

from labelloop.cookies import CookieNames
from trainer.dashboard.actions import PreLabelling
from trainer.dashboard.current_labels import CurrentLabels
from trainer.dashboard.ledger import Ledger
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import People
from trainer.dashboard.predictions import Looking


@dataclass(frozen=True)
class Parts:
    """people: those who may log in. cookies: the names of this stack's. pre_labelling, looking,
    current_labels: work that buttons have begun. ledger: what people did.
    """

    loop: WatchedLoop
    people: People
    cookies: CookieNames
    pre_labelling: PreLabelling
    looking: Looking
    ledger: Ledger
    current_labels: CurrentLabels

    @classmethod
    def of(cls, loop: WatchedLoop) -> Self:
        cookies = CookieNames.of(loop.settings)
        people = People(loop.studio, session_cookie=cookies.session)
        ledger, labels = Ledger(loop), CurrentLabels(loop)
        return cls(loop, people, cookies, PreLabelling(loop), Looking(loop), ledger, labels)

    def stop(self) -> None:
        """Ends the work that buttons have begun."""
        self.pre_labelling.stop()
        self.looking.stop()
        self.ledger.stop()
        self.current_labels.stop()
