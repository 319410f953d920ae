"""Decides which projects the loop works on, and connects our ML backend to those that have none.

A project with an ML backend of somebody else's, and without ours, is left alone: no model, no predictions, no
rounds. It is taken over when somebody asks for it: with the dashboard's button, by connecting our backend in
Label Studio, or with ADOPT_PROJECTS=all.
"""

import logging
import time
from collections.abc import Sequence

from labelloop import connection
from labelloop.errors import Explained
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from trainer.env import ALL, TrainerSettings
from trainer.peers.others import Others
from trainer.peers.projects import Project
from trainer.worker.showing import our_names

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 30.0


class LeftAlone(Explained):
    """The loop does not work on a project; the message says why and how to have it do so."""


def others_of(studio: Studio, settings: Settings, registry: Registry, project_id: int) -> Others:
    """What the project has from others. Raises StudioError: Label Studio does not answer or refuses."""
    ours = our_names(registry.project(project_id))
    return Others.of(studio, project_id, ours, connection.backend_url(settings))


def is_left_alone(project: Project, others: Others, settings: TrainerSettings) -> bool:
    """Whether the loop leaves the project alone. Simulations and the demo are never left alone."""
    asked_for = others.connected or not project.may_be_adopted or settings.adopt_projects == ALL
    return bool(others.backends) and not asked_for


def why_left_alone(project_id: int, others: Others) -> str:
    urls = ", ".join(others.backends)
    return (
        f"project {project_id} has an ML backend of its own ({urls}) and is left alone; "
        "press Take over on the dashboard, or set ADOPT_PROJECTS=all for all such projects"
    )


def require_worked_on(
    studio: Studio, settings: TrainerSettings, registry: Registry, project: Project
) -> None:
    """Raises LeftAlone when the loop does not work on the project, StudioError when nobody knows."""
    others = others_of(studio, settings, registry, project.id)
    if is_left_alone(project, others, settings):
        raise LeftAlone(why_left_alone(project.id, others))


class Adoption:
    """Remembers for a while what projects have from others, and connects the backend to each project once. A
    person who disconnects it keeps it disconnected.
    """

    def __init__(self, studio: Studio, settings: TrainerSettings, registry: Registry) -> None:
        self._studio = studio
        self._settings = settings
        self._registry = registry
        self._known: dict[int, Others] = {}
        self._look_again: dict[int, float] = {}
        self._offered: set[int] = set()

    def worked_on(self, projects: Sequence[Project]) -> list[Project]:
        """The projects that are not left alone."""
        return [project for project in projects if not self._left_alone(project)]

    def offer(self, project: Project) -> None:
        """Connects the backend to a project that was not offered it before; logs a failure."""
        adopts = self._settings.adopt_projects
        if project.id in self._offered or not adopts or not project.may_be_adopted:
            return
        self._offered.add(project.id)
        try:
            if adopts == ALL or not self._studio.backends(project.id):
                adopt(self._studio, self._settings, project.id)
        except StudioError as error:
            log.warning("project %d: the ML backend was not connected: %s", project.id, error)

    def _left_alone(self, project: Project) -> bool:
        if not project.may_be_adopted:
            return False
        if time.monotonic() >= self._look_again.get(project.id, 0.0):
            try:
                found = others_of(self._studio, self._settings, self._registry, project.id)
            except StudioError as error:  # what was known before still counts
                log.warning("project %d: its ML backends are not known: %s", project.id, error)
            else:
                self._look_again[project.id] = time.monotonic() + LOOK_AGAIN_S
                self._tell(project, found)
                self._known[project.id] = found
        known = self._known.get(project.id)
        return known is None or is_left_alone(project, known, self._settings)

    def _tell(self, project: Project, found: Others) -> None:
        before = self._known.get(project.id)
        if is_left_alone(project, found, self._settings) and (before is None or before != found):
            log.info("%s", why_left_alone(project.id, found))


def adopt(studio: Studio, settings: Settings, project_id: int) -> bool:
    """Connects the backend to a project, unless it is connected. Returns: whether it did.

    It uses the same fields as the provisioner. So if both connect a project at the same time, the provisioner
    recognises the second connection as a duplicate.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    fields = connection.fields(settings, project_id)
    if any(str(row.get("url", "")).rstrip("/") == fields["url"] for row in studio.backends(project_id)):
        return False
    studio.request("POST", "/api/ml", json=fields)
    connection.drop_webhook(studio, project_id, fields["url"])
    log.info("project %d: the ML backend %s is connected", project_id, fields["url"])
    return True
