"""A cluster's detectors as the trainer asks them: they answer as the ML backend does (cluster.pool)."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from trainer.env import TrainerSettings
from trainer.peers.backend import Backend, BackendError, OtherVersion, Row, Unread
from trainer.peers.projects import Project

log = logging.getLogger(__name__)

LOOK_S = 3.0
PAUSE_S = 15.0
"""After a failure the ML backend works alone for so long."""


class Pool:
    """They see images on the shared volumes. What they can't do, the ML backend has to: an image that lies
    with Label Studio, or a version that they don't serve yet.
    """

    def __init__(self, url: str, password: str) -> None:
        self._backend = Backend(url, password)
        self._lock = threading.Lock()
        self._places = self._asked = 0
        self._look_at = 0.0

    @classmethod
    def connect(cls, settings: TrainerSettings) -> Self | None:
        """None without a cluster. Raises MissingSecret."""
        return cls(settings.pool_url, settings.secret("backend_password")) if settings.pool_url else None

    @property
    def places(self) -> int:
        """How many batches it can be asked for at once; 0 while it is away."""
        with self._lock:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_S
                try:
                    self._places = int(self._backend.health().get("places", 0))
                except (BackendError, ValueError, TypeError):
                    self._places = 0
            return self._places

    def predict(
        self, project: Project, tasks: Sequence[Mapping[str, Any]], version: str
    ) -> list[Row | Unread] | None:
        """As Backend.predict; None where none of its places is free, or it cannot."""
        places = self.places
        with self._lock:
            if self._asked >= places:
                return None
            self._asked += 1
        try:
            return self._backend.predict(project, tasks, version)
        except BackendError as error:
            log.info("the ML backend takes over from the cluster's detectors: %s", error)
            pause = LOOK_S if isinstance(error, OtherVersion) else PAUSE_S
            with self._lock:
                self._places, self._look_at = 0, time.monotonic() + pause
            return None
        finally:
            with self._lock:
                self._asked -= 1
