"""Has projects learn at once from what is submitted, by a separate process (trainer.instant.process)."""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from labelloop.clocks import LEEWAY
from labelloop.errors import Explained
from labelloop.registry import Registry
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, changed_after, not_ahead
from trainer.instant.process import CANNOT
from trainer.peers.projects import Project
from trainer.system.children import Spawn, Watched
from trainer.worker.chores import ProjectsFailed

log = logging.getLogger(__name__)

LOOK_S = 2.0
AT_A_LOOK = 4
"""Label Studio is asked for so many projects' changes at a look, the others have their turn next."""


class LearningFailed(Explained):
    """The process that learns at once has ended by a fault; boxes go on coming from the champion."""


class AtOnce:
    """Starts the process when something was submitted, and tells when what serves has changed.

    The process looks after its projects itself, until nothing is submitted any more. If something is
    submitted in another project meanwhile, it is started anew for both.
    """

    def __init__(self, studio: Studio, registry: Registry, rounds_dir: Path, spawn: Spawn) -> None:
        self._studio = studio
        self._registry = registry
        self._process = Watched[tuple[int, ...]](spawn, rounds_dir / "instant.log")
        self._since: dict[int, datetime] = {}
        self._turn = 0
        self._cannot: dict[int, str | None] = {}
        self._stamps: dict[int, object] = {}

    def tend(self, projects: Sequence[Project]) -> bool:
        """Watches the process, and starts it if it is needed. Returns: whether what serves has changed in one
        of the projects.

        Raises:
            ProjectsFailed: the process has failed; it is started again by the next submit. StudioError.
        """
        changed = self._has_changed(projects)
        self._watch()
        submitted = [project.id for project in self._asked(projects) if self._has_submits(project)]
        if submitted:
            self._start(submitted)
        return changed

    def stop(self) -> None:
        self._process.stop()

    def _has_changed(self, projects: Sequence[Project]) -> bool:
        stamps = {project.id: self._registry.project(project.id).instant.stamp() for project in projects}
        changed = any(self._stamps.get(number) != stamp for number, stamp in stamps.items())
        self._stamps.update(stamps)
        return changed

    def _watch(self) -> None:
        ended = self._process.ended()
        if ended is None or ended.status == 0:
            return
        if ended.status == CANNOT:
            log.info("%s", ended.words)
            self._cannot |= {number: self._in_service(number) for number in ended.of}
            return
        # What was submitted just before has yet to be learnt.
        self._since |= dict.fromkeys(ended.of, datetime.now(UTC) - LEEWAY)
        reason = LearningFailed(f"learning at once failed: {ended.why} (see {self._process.log_path})")
        raise ProjectsFailed(dict.fromkeys(ended.of, reason))

    def _asked(self, projects: Sequence[Project]) -> list[Project]:
        """The projects whose turn it is, of those that the process does not look after."""
        others = [
            project
            for project in projects
            if project.id not in (self._process.of or ())
            and (project.id not in self._cannot or self._cannot[project.id] != self._in_service(project.id))
        ]
        if not others:
            return []
        first = self._turn % len(others)
        self._turn = first + AT_A_LOOK
        return [*others[first:], *others[:first]][:AT_A_LOOK]

    def _in_service(self, project_id: int) -> str | None:
        return self._registry.project(project_id).in_service()

    def _has_submits(self, project: Project) -> bool:
        """Whether something was submitted since the last look; before the first one, within LEEWAY."""
        now = datetime.now(UTC)
        since = self._since.setdefault(project.id, now - LEEWAY)
        if not self._studio.count_tasks(project.id, LABELLED, changed_after(since), not_ahead()):
            return False
        self._since[project.id] = now
        return True

    def _start(self, submitted: Collection[int]) -> None:
        projects = tuple(sorted({*(self._process.of or ()), *submitted}))
        log.info("learning at once in project %s", ", ".join(map(str, projects)))
        self._process.begin(["trainer.instant.process", *map(str, projects)], projects)
