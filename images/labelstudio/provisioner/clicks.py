"""Click to box in projects that were connected before this release.

Label Studio asks a connection for the box of a click only when it is "interactive". New connections are, by
`labelloop.connection`. Older ones become so once; whoever turns it off in Label Studio afterwards keeps it
off.
"""

import logging

from labelloop import connection
from labelloop.settings import Settings
from labelloop.studio import Studio
from provisioner.state import StateFile

log = logging.getLogger(__name__)


def offer_clicks(studio: Studio, settings: Settings, file: StateFile) -> None:
    """Makes all connections to our backend interactive, once.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    if file.state.clicks_offered:
        return
    url = connection.backend_url(settings)
    for project in studio.projects():
        for backend in project["ml_backends"]:
            if backend["url"].rstrip("/") == url and not backend["interactive"]:
                fields = connection.fields(settings, project["id"])
                studio.request("PATCH", f"/api/ml/{backend['id']}", json=fields)
                log.info("project %s: clicks become boxes now", project["id"])
    file.update(clicks_offered=True)
