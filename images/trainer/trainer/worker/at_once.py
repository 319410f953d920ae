"""Has projects learn at once from what is submitted, by a separate process (trainer.instant.process)."""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from labelloop.errors import Explained
from labelloop.registry import Registry
from labelloop.studio import LABELLED, Studio, changed_after
from trainer.peers.projects import Project
from trainer.system.children import Child, Spawn, describe
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
        self._log_path = rounds_dir / "instant.log"
        self._spawn = spawn
        self._child: Child | None = None
        self._projects: tuple[int, ...] = ()
        self._since: dict[int, datetime] = {}
        self._turn = 0
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
        if self._child is not None:
            self._child.stop()

    def _has_changed(self, projects: Sequence[Project]) -> bool:
        stamps = {project.id: self._registry.project(project.id).instant.stamp() for project in projects}
        changed = any(self._stamps.get(number) != stamp for number, stamp in stamps.items())
        self._stamps.update(stamps)
        return changed

    def _watch(self) -> None:
        if self._child is None or (status := self._child.status()) is None:
            return
        child, projects = self._child, self._projects
        self._child, self._projects = None, ()
        if status != 0:
            why = child.last_words() if status > 0 else f"its process was ended by {describe(status)}"
            reason = LearningFailed(f"learning at once failed: {why} (see {child.log_path})")
            raise ProjectsFailed(dict.fromkeys(projects, reason))

    def _asked(self, projects: Sequence[Project]) -> list[Project]:
        """The projects whose turn it is, of those that the process does not look after."""
        others = [project for project in projects if project.id not in self._projects]
        if not others:
            return []
        first = self._turn % len(others)
        self._turn = first + AT_A_LOOK
        return [*others[first:], *others[:first]][:AT_A_LOOK]

    def _has_submits(self, project: Project) -> bool:
        """Whether something was submitted since the last look. What was before the first one is old."""
        since, now = self._since.get(project.id), datetime.now(UTC)
        if since is None:
            self._since[project.id] = now
            return False
        if not self._studio.count_tasks(project.id, LABELLED, changed_after(since)):
            return False
        self._since[project.id] = now
        return True

    def _start(self, submitted: Collection[int]) -> None:
        if self._child is not None:
            self._child.stop()
        self._projects = tuple(sorted({*self._projects, *submitted}))
        self._log_path.unlink(missing_ok=True)
        log.info("learning at once in project %s", ", ".join(map(str, self._projects)))
        arguments = ["trainer.instant.process", *map(str, self._projects)]
        self._child = self._spawn(arguments, self._log_path)
