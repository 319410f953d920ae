"""A Label Studio project's connection to the ML backend, and the webhook that Label Studio creates for it."""

import logging

from labelloop.settings import Settings
from labelloop.studio import Row, Studio

log = logging.getLogger(__name__)

TITLE = "labelloop"
USER = "labelstudio"


def backend_url(settings: Settings) -> str:
    """Where Label Studio reaches the ML backend."""
    return (settings.mlbackend_for_studio or settings.mlbackend_url).rstrip("/")


def fields(settings: Settings, project_id: int) -> Row:
    """The request body with which Label Studio's /api/ml makes a connection with credentials.

    Raises:
        MissingSecret: there is no BACKEND_PASSWORD.
    """
    return {
        "project": project_id,
        "url": backend_url(settings),
        "title": TITLE,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": USER,
        "basic_auth_pass": settings.secret("backend_password"),
        "is_interactive": True,
    }


def drop_webhook(studio: Studio, project_id: int, url: str) -> None:
    """Deletes the webhook that Label Studio creates together with a backend at `url`.

    The webhook sends every event of the project, and all tasks of an import in one body. A person who submits
    waits until it is answered, and it cannot sign in. Start Training does not need it: the button uses the
    connection.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    for webhook in studio.request("GET", "/api/webhooks/", params={"project": project_id}):
        if webhook["url"] == f"{url}/webhook" and not webhook["headers"]:
            studio.request("DELETE", f"/api/webhooks/{webhook['id']}/")
            log.info("webhook %s deleted: nobody needs it", webhook["id"])
