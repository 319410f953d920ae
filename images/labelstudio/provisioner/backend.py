"""The connection of the project to the ML backend, with credentials."""

import logging

import requests

from labelloop import connection
from labelloop.errors import Explained
from labelloop.sessions import service_session
from labelloop.settings import Settings
from labelloop.studio import Row, Studio
from provisioner.creation import Creator
from provisioner.state import StateFile

log = logging.getLogger(__name__)

CONNECTED = "CO"


class BackendNotReady(Explained):
    """The ML backend can't be connected yet; the message says what it, or Label Studio, answers."""


def ensure_backend(studio: Studio, settings: Settings, project_id: int, file: StateFile) -> int:
    """Connects the backend, or repairs a connection that is half made, double or has former credentials.

    Returns: the id of the connection.

    Raises:
        BackendNotReady: the backend does not answer, or Label Studio can't set it up.
    """
    url = connection.backend_url(settings)
    _check_health(url)
    fields = connection.fields(settings, project_id)
    backend, made = Creator(studio, file).find_or_create(
        lambda: _find(studio, project_id, url), "/api/ml", lambda: fields
    )
    if made:
        log.info("backend %s created: %s", backend["id"], url)
    fields["is_interactive"] = backend["is_interactive"]  # people may turn it off; see `clicks`
    if not _fits(backend, fields):
        studio.request("PATCH", f"/api/ml/{backend['id']}", json=fields)
        backend = _find(studio, project_id, url) or backend
        log.info("backend %s repaired", backend["id"])
    if backend["state"] != CONNECTED:
        said = backend.get("error_message") or backend["readable_state"]
        raise BackendNotReady(f"Label Studio can't set up the ML backend at {url}: {said}")
    connection.drop_webhook(studio, project_id, url)
    file.update(backend=backend["id"])
    return int(backend["id"])


def _check_health(url: str) -> None:
    try:
        with service_session(url) as session:
            response = session.get(f"{url}/health", timeout=5)
    except requests.RequestException as error:
        raise BackendNotReady(f"{url}/health does not answer: {error}") from error
    if not response.ok:
        raise BackendNotReady(f"{url}/health: {response.status_code} {response.text[:300]}")


def _find(studio: Studio, project_id: int, url: str) -> Row | None:
    """Our connection and its state (Label Studio asks the backend when it lists); deletes doubles of it."""
    ours = [
        b
        for b in studio.backends(project_id)
        if b["url"].rstrip("/") == url or b["title"] == connection.TITLE
    ]
    ours.sort(key=lambda backend: int(backend["id"]))
    for double in ours[1:]:
        studio.request("DELETE", f"/api/ml/{double['id']}")
        log.info("backend %s deleted: a double of %s", double["id"], ours[0]["id"])
    return ours[0] if ours else None


def _fits(backend: Row, fields: Row) -> bool:
    """Whether all is as it should be. The password is never shown: whether it fits shows in the state."""
    shown = {name: value for name, value in fields.items() if name != "basic_auth_pass"}
    return backend["state"] == CONNECTED and all(backend.get(name) == value for name, value in shown.items())
