"""Projects made by hand in Label Studio get our ML backend, so that Start Training works in them."""

import logging

from labelloop.settings import Settings
from labelloop.studio import Studio

log = logging.getLogger(__name__)

# As the provisioner connects its project: where both do it at once, it knows one for a double of the other.
TITLE = "labelloop"
USER = "labelstudio"


def adopt(studio: Studio, settings: Settings, project_id: int) -> bool:
    """Connects the backend to a project that has none at all; whether it did.

    The webhook that Label Studio makes beside a backend is deleted: it cannot sign in, and nobody needs it.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    if studio.backends(project_id):
        return False
    url = settings.mlbackend_url.rstrip("/")
    fields = {
        "project": project_id,
        "url": url,
        "title": TITLE,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": USER,
        "basic_auth_pass": settings.secret("backend_password"),
    }
    studio.request("POST", "/api/ml", json=fields)
    for webhook in studio.request("GET", "/api/webhooks/", params={"project": project_id}):
        if webhook["url"] == f"{url}/webhook" and not webhook["headers"]:
            studio.request("DELETE", f"/api/webhooks/{webhook['id']}/")
    log.info("project %d: the ML backend %s is connected", project_id, url)
    return True
