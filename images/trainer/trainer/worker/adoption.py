"""Projects made by hand in Label Studio get our ML backend, so that Start Training works in them."""

import logging

from labelloop import connection
from labelloop.settings import Settings
from labelloop.studio import Studio

log = logging.getLogger(__name__)


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
