"""Connects our ML backend to projects made by hand in Label Studio, so that Start Training works in them."""

import logging

from labelloop import connection
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.peers.projects import Project

log = logging.getLogger(__name__)


class Adoption:
    """Connects the backend to each project once. A person who disconnects it keeps it disconnected."""

    def __init__(self, studio: Studio, settings: TrainerSettings) -> None:
        self._studio = studio
        self._settings = settings
        self._asked: set[int] = set()

    def offer(self, project: Project) -> None:
        """Connects the backend to a project that was not offered it before; logs a failure."""
        if project.id in self._asked or not self._settings.adopt_projects or not project.may_be_adopted:
            return
        self._asked.add(project.id)
        try:
            adopt(self._studio, self._settings, project.id)
        except StudioError as error:
            log.warning("project %d: the ML backend was not connected: %s", project.id, error)


def adopt(studio: Studio, settings: Settings, project_id: int) -> bool:
    """Connects the backend to a project that has no backend at all. Returns: whether it did.

    It uses the same fields as the provisioner. So if both connect a project at the same time, the provisioner
    recognises the second connection as a duplicate.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    if studio.backends(project_id):
        return False
    fields = connection.fields(settings, project_id)
    studio.request("POST", "/api/ml", json=fields)
    connection.drop_webhook(studio, project_id, fields["url"])
    log.info("project %d: the ML backend %s is connected", project_id, fields["url"])
    return True
