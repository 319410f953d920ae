"""What every page stands on: the loop's parts, and its state as `labelloop status` gathers it."""

import threading
import time
from dataclasses import dataclass, field

from labelloop.errors import Explained
from trainer.health.status import ProjectStatus, Status, gather
from trainer.loop import Loop

STATUS_S = 4.0


class UnknownProject(Explained):
    """There is no such project; the message lists those there are."""


@dataclass
class WatchedLoop(Loop):
    """Everything a page asks. Used by several threads. status_s: how old a state may be shown."""

    status_s: float = STATUS_S
    _status: Status | None = None
    _gathered_at: float = 0.0
    _titles: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def status(self) -> Status:
        """At most `status_s` seconds old, however many pages ask."""
        with self._lock:
            if self._status is None or time.monotonic() - self._gathered_at > self.status_s:
                self._status = gather(self.settings, self.studio, self.backend)
                self._gathered_at = time.monotonic()
                self._titles.update({project.id: project.title for project in self._status.projects})
            return self._status

    def forget_status(self) -> None:
        """Has the next page ask anew, after something was changed."""
        with self._lock:
            self._status = None

    def projects(self) -> dict[int, str]:
        """Titles by id; those with a model when Label Studio does not answer."""
        found = {project.id: project.title for project in self.status().projects}
        if found:
            return found
        return {number: self._titles.get(number, f"project {number}") for number in self.registry.projects()}

    def choose(self, wanted: int | None) -> int | None:
        """The project that a page shows: the one asked for, PROJECT, or the first; None without any.

        Raises:
            UnknownProject: there is no project `wanted`.
        """
        projects = self.projects()
        if wanted is not None:
            if wanted not in projects:
                listed = ", ".join(f"{number} ({title})" for number, title in projects.items()) or "none"
                raise UnknownProject(
                    f"there is no project {wanted} in which boxes are drawn; there are: {listed}"
                )
            return wanted
        if self.settings.project in projects:
            return self.settings.project
        return next(iter(sorted(projects)), None)

    def project_status(self, project_id: int) -> ProjectStatus | None:
        """None while Label Studio does not answer."""
        return next((p for p in self.status().projects if p.id == project_id), None)
