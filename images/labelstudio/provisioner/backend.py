"""The connection of the project to the ML backend, with credentials."""

import logging

import requests

from labelloop.settings import Settings
from labelloop.studio import Row, Studio
from provisioner.creation import Creator
from provisioner.state import StateFile

log = logging.getLogger(__name__)

TITLE = "labelloop"
USER = "labelstudio"
CONNECTED = "CO"


class BackendNotReady(RuntimeError):
    """The ML backend can't be connected yet; the message says what it, or Label Studio, answers."""


def ensure_backend(studio: Studio, settings: Settings, project_id: int, file: StateFile) -> int:
    """Connects the backend, or repairs the connection: half created, doubled, former credentials. Its id.

    Raises:
        BackendNotReady: the backend does not answer, or Label Studio can't set it up.
    """
    url = settings.mlbackend_url.rstrip("/")
    _check_health(url)
    fields = {
        "project": project_id,
        "url": url,
        "title": TITLE,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": USER,
        "basic_auth_pass": settings.secret("backend_password"),
    }
    backend, made = Creator(studio, file).find_or_create(
        lambda: _find(studio, project_id, url), "/api/ml", lambda: fields
    )
    if made:
        log.info("backend %s created: %s", backend["id"], url)
    if not _fits(backend, fields):
        studio.request("PATCH", f"/api/ml/{backend['id']}", json=fields)
        backend = _find(studio, project_id, url) or backend
        log.info("backend %s repaired", backend["id"])
    if backend["state"] != CONNECTED:
        said = backend.get("error_message") or backend["readable_state"]
        raise BackendNotReady(f"Label Studio can't set up the ML backend at {url}: {said}")
    _drop_webhook(studio, project_id, url)
    file.update(backend=backend["id"])
    return int(backend["id"])


def _check_health(url: str) -> None:
    try:
        response = requests.get(f"{url}/health", timeout=5)
    except requests.RequestException as error:
        raise BackendNotReady(f"{url}/health does not answer: {error}") from error
    if not response.ok:
        raise BackendNotReady(f"{url}/health: {response.status_code} {response.text[:300]}")


def _find(studio: Studio, project_id: int, url: str) -> Row | None:
    """Our connection and its state (Label Studio asks the backend when it lists); deletes doubles of it."""
    ours = [b for b in studio.backends(project_id) if b["url"].rstrip("/") == url or b["title"] == TITLE]
    ours.sort(key=lambda backend: int(backend["id"]))
    for double in ours[1:]:
        studio.request("DELETE", f"/api/ml/{double['id']}")
        log.info("backend %s deleted: a double of %s", double["id"], ours[0]["id"])
    return ours[0] if ours else None


def _fits(backend: Row, fields: Row) -> bool:
    """Whether all is as it should be. The password is never shown: whether it fits shows in the state."""
    shown = {name: value for name, value in fields.items() if name != "basic_auth_pass"}
    return backend["state"] == CONNECTED and all(backend.get(name) == value for name, value in shown.items())


def _drop_webhook(studio: Studio, project_id: int, url: str) -> None:
    """Deletes the webhook that Label Studio makes beside a backend.

    It sends every event of the project, with all the tasks of an import in one body, waits for the answer
    while a person submits, and cannot sign in. The Start Training button does not go through it, but through
    the connection.
    """
    for webhook in studio.request("GET", "/api/webhooks/", params={"project": project_id}):
        if webhook["url"] == f"{url}/webhook" and not webhook["headers"]:
            studio.request("DELETE", f"/api/webhooks/{webhook['id']}/")
            log.info("webhook %s deleted: nobody needs it", webhook["id"])
