"""Decides which projects the loop works on, and connects our ML backend to those that have none.

A project with an ML backend of somebody else's, and without ours, is left alone: no model, no predictions, no
rounds. It is taken over when somebody asks for it: with the dashboard's button, by connecting our backend in
Label Studio, or with ADOPT_PROJECTS=all.
"""

import logging
from collections.abc import Sequence

from labelloop import connection
from labelloop.errors import Explained
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from trainer.env import ALL, TrainerSettings
from trainer.peers.projects import MLBackend, Project

log = logging.getLogger(__name__)


class LeftAlone(Explained):
    """The loop does not work on a project; the message says why and how to have it do so."""


def why_left_alone(project: Project, settings: TrainerSettings) -> str | None:
    """Why the loop leaves the project alone; None when it works on it, as on simulations and the demo."""
    theirs = [backend.url for backend in project.backends if not _is_ours(backend, settings)]
    asked_for = len(theirs) < len(project.backends) or settings.adopt_projects == ALL
    if not theirs or asked_for or not project.may_be_adopted:
        return None
    return (
        f"project {project.id} has an ML backend of its own ({', '.join(theirs)}) and is left alone; "
        "press Take over on the dashboard, or set ADOPT_PROJECTS=all for all such projects"
    )


def _is_ours(backend: MLBackend, settings: Settings) -> bool:
    """Also under the address that it had before the stack was moved."""
    return backend.url == connection.backend_url(settings) or backend.title == connection.TITLE


def require_worked_on(project: Project, settings: TrainerSettings) -> None:
    """Raises LeftAlone when the loop does not work on the project."""
    why = why_left_alone(project, settings)
    if why is not None:
        raise LeftAlone(why)


class Adoption:
    """Connects the backend to each project once. A person who disconnects it keeps it disconnected."""

    def __init__(self, studio: Studio, settings: TrainerSettings) -> None:
        self._studio = studio
        self._settings = settings
        self._offered: set[int] = set()
        self._told: dict[int, str] = {}

    def worked_on(self, projects: Sequence[Project]) -> list[Project]:
        """The projects that are not left alone."""
        left_alone = {}
        for project in projects:
            if (why := why_left_alone(project, self._settings)) is not None:
                left_alone[project.id] = why
                if self._told.get(project.id) != why:
                    log.info("%s", why)
        self._told = left_alone
        return [project for project in projects if project.id not in left_alone]

    def offer(self, project: Project) -> None:
        """Connects the backend to a project that was not offered it before; logs a failure."""
        adopts = self._settings.adopt_projects
        if project.id in self._offered or not adopts or not project.may_be_adopted:
            return
        self._offered.add(project.id)
        try:
            if adopts == ALL or not project.backends:
                adopt(self._studio, self._settings, project.id)
        except StudioError as error:
            log.warning("project %d: the ML backend was not connected: %s", project.id, error)


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
