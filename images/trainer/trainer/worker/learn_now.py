"""Learns at once on demand, for simulations: what the worker does in the background."""

import logging
import time

from labelloop.locks import Busy
from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.instant.errors import CannotLearn
from trainer.instant.learner import Learner
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.prelabel import Prelabeller

log = logging.getLogger(__name__)

WAIT_S = 60.0
POLL_S = 0.2


class LearnNow:
    """Learns in one project whenever it is called.

    A project that Label Studio asks for boxes meanwhile gets them from what serves, as always.
    """

    def __init__(self, settings: TrainerSettings, studio: Studio, backend: Backend, project_id: int) -> None:
        self._studio, self._backend, self._project_id = studio, backend, project_id
        self._models = Registry(settings.models_dir).project(project_id)
        self._learner = Learner(settings, studio, self._models)
        self._prelabeller = Prelabeller(
            studio, backend, Registry(settings.models_dir), settings.rounds_dir, settings=settings
        )
        self._on = settings.instant

    def __call__(self) -> str | None:
        """Learns from all that was submitted, and gives the next tasks boxes of what serves then.

        Returns: the version that serves.

        Raises:
            StudioError, BackendError: one of the two does not answer. RegistryError: the champion is damaged.
        """
        before = self._models.serving()
        project = fetch(self._studio, self._project_id)
        began = time.monotonic()
        if self._on:
            try:
                self._learner.learn(project)
            except CannotLearn as error:
                log.info("project %d: %s", self._project_id, error)
                self._on = False
        serving = self._models.serving()
        if serving is not None and serving != before:
            classes = self._models.card(serving).classes
            self._backend.wait_for(self._project_id, serving, classes, WAIT_S, lambda: False)
        if serving is not None:
            self._propose()
        log.debug("project %d: %s serves after %.1f s", self._project_id, serving, time.monotonic() - began)
        return serving

    def _propose(self) -> None:
        """Gives the next tasks their boxes. Where the worker is at it just now, it is waited for.

        Raises:
            Busy: it takes too long.
        """
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self._prelabeller.run(fetch(self._studio, self._project_id))
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return
