"""A cluster's detectors as the trainer asks them: they answer as the ML backend does (cluster.pool)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from labelloop.boxes import Boxes
from labelloop.images import ImageError
from labelloop.settings import Settings
from trainer.peers.backend import Backend, BackendDown, BackendError, Row, Unread
from trainer.peers.projects import Project

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_S = 3.0
PAUSE_S = 15.0
"""When it is away, others work alone for so long."""


class Pool:
    """They see images on the shared volumes. What they can't do, others have to: an image of another server's
    that they don't reach, or a version that they don't serve yet.
    """

    def __init__(self, url: str, password: str) -> None:
        self._backend = Backend(url, password)
        self._open = Backend(url, "")
        self._lock = threading.Lock()
        self._places = self._asked = 0
        self._look_at = 0.0

    @classmethod
    def connect(cls, settings: Settings) -> Self | None:
        """None without a cluster. Raises MissingSecret."""
        return cls(settings.pool_url, settings.secret("backend_password")) if settings.pool_url else None

    @property
    def places(self) -> int:
        """How many batches it can be asked for at once; 0 while it is away."""
        with self._lock:
            due = time.monotonic() >= self._look_at
            if due:
                mine = self._look_at = time.monotonic() + LOOK_S
        if due:
            try:
                # Without the password: whoever listens there while the pool is away gets nothing.
                places = int(self._open.health().get("places", 0))
            except (BackendError, ValueError, TypeError):
                places = 0
            with self._lock:
                if self._look_at == mine:
                    self._places = places
        return self._places

    def predict(
        self,
        project: Project,
        tasks: Sequence[Mapping[str, Any]],
        version: str,
        classes: Sequence[str],
        within_s: float,
    ) -> list[Row | Unread] | None:
        """As Backend.predict; None where none of its places is free, or it cannot in `within_s` seconds.

        classes: those of the version's card, which a renamed label changes.
        """
        more = {"version": version, "classes": list(classes), "within_s": within_s}
        return self._at_a_place(lambda: self._backend.predict(project, tasks, version, more))

    def look(self, folder: Path, files: Sequence[Path], within_s: float) -> list[Boxes | ImageError] | None:
        """What a version finds in each file, in its own classes; None as `predict`.

        folder, files: below LABELLOOP_HOME, and relative to it.
        """
        body = {"folder": str(folder), "files": [str(file) for file in files], "within_s": within_s}
        return self._at_a_place(
            lambda: [_boxes(row) for row in self._backend.results("/look", body, len(files))]
        )

    def _at_a_place(self, ask: Callable[[], T]) -> T | None:
        places = self.places
        with self._lock:
            if self._asked >= places:
                return None
            self._asked += 1
        try:
            return ask()
        except BackendError as error:
            log.info("work of the cluster's detectors is done here: %s", error)
            if isinstance(error, BackendDown):
                with self._lock:
                    self._places, self._look_at = 0, time.monotonic() + PAUSE_S
            return None
        finally:
            with self._lock:
                self._asked -= 1


def _boxes(row: Row) -> Boxes | ImageError:
    if "error" in row:
        return ImageError(str(row["error"]))
    return Boxes.of(row["xyxy"], row["scores"], row["labels"])
