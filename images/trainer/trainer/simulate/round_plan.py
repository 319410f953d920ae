"""When a simulated run's rounds begin: at numbers that were given, or when the appliance would open them."""

from collections.abc import Sequence
from typing import Protocol

from labelloop.registry import STARTING_VERSION, ProjectModels
from trainer.loop import Loop
from trainer.peers.projects import Project
from trainer.simulate.errors import OptionError


class Schedule(Protocol):
    """most: so many images are labelled in all."""

    most: int

    def next(self) -> int:
        """The number of labelled images at which the next batch is expected to end."""

    def is_due(self, labelled: int) -> bool:
        """Whether, with so many labelled images, the batch is over and a round begins."""

    def began(self, labelled: int) -> None:
        """Takes note of a round, with so many labelled images; or of the end of a batch without one."""


class Planned:
    """Rounds at numbers that were given. counts: these, ascending."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.most = counts[-1]
        self._left = list(counts)

    def next(self) -> int:
        return self._left[0]

    def is_due(self, labelled: int) -> bool:
        return labelled >= self._left[0]

    def began(self, labelled: int) -> None:
        self._left = [count for count in self._left if count > labelled]


class AsItself:
    """Rounds when the worker would open them in a project that is no simulation's, by this stack's settings.

    Raises:
        OptionError: the stack opens none by itself.
    """

    def __init__(self, loop: Loop, project: Project, models: ProjectModels, most: int) -> None:
        if not loop.settings.retrain_every:
            raise OptionError(
                "SCHEDULE=auto: with RETRAIN_EVERY=0 this stack opens no round by itself; "
                "give numbers of labelled images, or none"
            )
        self.most = most
        self._loop, self._project, self._models = loop, project, models
        self._last = 0

    def next(self) -> int:
        return min(self._due_at(), self.most)

    def is_due(self, labelled: int) -> bool:
        """As the worker has it: by the number, and only if a round could come to a result."""
        if labelled < self._due_at():
            return False
        return self._loop.preflight.why_not(self._project, labelled) is None

    def _due_at(self) -> int:
        card = self._models.card(self._models.champion() or STARTING_VERSION)
        knows = self._project.label_map(card).knows_any
        return self._loop.settings.next_round_at(self._last, knows)

    def began(self, labelled: int) -> None:
        self._last = labelled
