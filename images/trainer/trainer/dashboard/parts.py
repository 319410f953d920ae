"""The parts of the dashboard that keep state or run work. There is one of each in a process."""

from dataclasses import dataclass
from typing import Self

from labelloop.cookies import CookieNames
from trainer.dashboard.actions import PreLabelling
from trainer.dashboard.changes import Changes
from trainer.dashboard.current_labels import CurrentLabels
from trainer.dashboard.detection import Detection
from trainer.dashboard.ledger import Ledger
from trainer.dashboard.looking import Looking
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import People
from trainer.dashboard.takeaways import TakeAways
from trainer.dashboard.verifying import Verifying


@dataclass(frozen=True)
class Parts:
    """people: those who may log in. cookies: the names of this stack's. pre_labelling, looking,
    current_labels: work that buttons have begun. changes: what became of labels since a look. ledger: what
    people did. detection: of programs' images. take_aways: models that are being taken along. verifying: the
    page Verify's crops.
    """

    loop: WatchedLoop
    people: People
    cookies: CookieNames
    pre_labelling: PreLabelling
    looking: Looking
    changes: Changes
    ledger: Ledger
    current_labels: CurrentLabels
    verifying: Verifying
    detection: Detection
    take_aways: TakeAways

    @classmethod
    def of(cls, loop: WatchedLoop) -> Self:
        cookies = CookieNames.of(loop.settings)
        return cls(
            loop=loop,
            people=People(loop.studio, session_cookie=cookies.session),
            cookies=cookies,
            pre_labelling=PreLabelling(loop),
            looking=Looking(loop),
            changes=Changes(loop.studio),
            ledger=Ledger(loop),
            current_labels=CurrentLabels(loop),
            verifying=Verifying(loop),
            detection=Detection(loop),
            take_aways=TakeAways(loop),
        )

    def stop(self) -> None:
        """Ends the work that buttons have begun."""
        self.pre_labelling.stop()
        self.looking.stop()
        self.ledger.stop()
        self.current_labels.stop()
        self.verifying.stop()
        self.take_aways.stop()
