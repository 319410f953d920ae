"""Projects made by hand in Label Studio get our ML backend, so that Start Training works in them."""

import logging

from labelloop import connection
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.peers.projects import Project

log = logging.getLogger(__name__)


class Adoption:
    """Connects the backend to each project, once: who removes the connection by hand is not overruled."""

    def __init__(self, studio: Studio, settings: TrainerSettings) -> None:
        self._studio = studio
        self._settings = settings
        self._asked: set[int] = set()

    def offer(self, project: Project) -> None:
        """To a project that has not been asked about yet; logs why it could not be connected."""
        if project.id in self._asked or not self._settings.adopt_projects or not project.may_be_adopted:
            return
        self._asked.add(project.id)
        try:
            adopt(self._studio, self._settings, project.id)
        except StudioError as error:
            log.warning("project %d: the ML backend was not connected: %s", project.id, error)


def adopt(studio: Studio, settings: Settings, project_id: int) -> bool:
    """Connects the backend to a project that has none at all; whether it did.

    As the provisioner connects its project: where both do it at once, it knows one for a double of the other.

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
