"""Tries a simulated project's promotions on the images that are labelled afterwards.

The worker does so for all projects but simulations and the demo.
"""

from labelloop.registry import ProjectModels
from trainer.judging.trial import Outcome
from trainer.loop import Loop
from trainer.worker.trial import Trials, on_trial


class Trying:
    """Carries the trial of a project's last promotion on, as often as the worker would."""

    def __init__(self, loop: Loop, project_id: int, models: ProjectModels) -> None:
        self._trials = Trials(loop.settings, loop.studio, loop.registry, loop.rounds)
        self._rounds, self._project_id, self._models = loop.rounds, project_id, models
        self._since_look = 0

    def submitted(self) -> None:
        """Takes note of a submitted image. Where the former version turns out to be better, it comes back.

        Raises:
            StudioError: Label Studio does not answer.
        """
        found = on_trial(self._rounds, self._models, self._project_id)
        if found is None or found[1].outcome is not Outcome.OPEN:
            self._since_look = 0
            return
        self._since_look += 1
        if self._since_look >= max(found[1].wanted, 1):
            self._since_look = 0
            self._trials.carry_on(self._project_id)
