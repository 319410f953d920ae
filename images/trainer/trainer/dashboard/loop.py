"""The basis of every page: the loop's parts, and its state as `labelloop status` gathers it."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from labelloop.errors import Explained
from trainer.health.status import ProjectStatus, Status, gather
from trainer.loop import Loop

STATUS_S = 4.0
PATIENCE_S = 0.7
STALE = 15
"""While a status is gathered, the one before is shown, up to so many times as old as one may be."""


class UnknownProject(Explained):
    """There is no such project; the message lists the projects."""


@dataclass
class WatchedLoop(Loop):
    """Everything that pages ask for. Several threads use it. status_s: how old a shown status may be."""

    status_s: float = STATUS_S
    _status: Status | None = None
    _gathered_at: float = 0.0
    _gathering: "Future[Status] | None" = None
    _titles: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def status(self, newest: bool = False) -> Status:
        """The status, at most `status_s` seconds old. It is gathered once for all pages that ask.

        With a million tasks that takes seconds. After PATIENCE_S a page gets the one before, if that is not
        STALE times as old, and a later page the new one. newest: it is waited for all the same.
        """
        with self._lock:
            known, age = self._status, time.monotonic() - self._gathered_at
            if known is not None and age <= self.status_s:
                return known
            gathering = self._gathering = self._gathering or self._gather()
        if newest or known is None or age > STALE * self.status_s:
            return gathering.result()
        try:
            return gathering.result(PATIENCE_S)
        except TimeoutError:
            return known

    def _gather(self) -> "Future[Status]":
        """Begins to gather a status, in a thread of its own."""
        gathering: Future[Status] = Future()

        def run() -> None:
            try:
                found = gather(self.settings, self.studio, self.backend, self.preflight)
            except BaseException as error:
                self._done(gathering, None)
                gathering.set_exception(error)
            else:
                self._done(gathering, found)
                gathering.set_result(found)

        threading.Thread(target=run, name="status", daemon=True).start()
        return gathering

    def _done(self, gathering: "Future[Status]", found: Status | None) -> None:
        """Keeps a status, unless something was changed since it was begun."""
        with self._lock:
            if self._gathering is not gathering:
                return
            self._gathering = None
            if found is not None:
                self._status, self._gathered_at = found, time.monotonic()
                self._titles.update({project.id: project.title for project in found.projects})

    def forget_status(self) -> None:
        """Makes the next page gather the status anew, because something was changed."""
        with self._lock:
            self._status = self._gathering = None

    def projects(self, newest: bool = False) -> dict[int, str]:
        """Project titles by id. If Label Studio does not answer, these are the projects that have a model.

        newest: as `status`.
        """
        found = {project.id: project.title for project in self.status(newest).projects}
        if found:
            return found
        return {number: self._titles.get(number, f"project {number}") for number in self.registry.projects()}

    def choose(self, wanted: int | None) -> int | None:
        """The project that a page shows: the one asked for, else PROJECT, else the first; None without any.

        Raises:
            UnknownProject: there is no project `wanted`.
        """
        projects = self.projects()
        if wanted is not None and wanted not in projects:
            projects = self.projects(newest=True)  # it may be younger than the status
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
        """A project's status; None while Label Studio does not answer."""
        return next((p for p in self.status().projects if p.id == project_id), None)
