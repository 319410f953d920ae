"""The trainer's API, as far as the backend asks it for rounds."""

from typing import Any

import requests

from labelloop.sessions import service_session
from labelloop.settings import MissingSecret, Settings
from mlbackend.errors import BackendError

USER = "mlbackend"
TIMEOUT_S = (2.0, 10.0)
CLOSED_STATES = ("promoted", "kept", "failed", "cancelled")

Row = dict[str, Any]


class TrainerClient:
    """The trainer at TRAINER_URL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.trainer_url.rstrip("/")

    def request_round(self, project_id: int) -> Row:
        """Asks for a round: {"round": 7, "state": "requested", "joined": false}; joined: it was open already.

        Raises:
            BackendError: the trainer is down (503) or refuses (its own status).
        """
        answer = self._ask("POST", f"/projects/{project_id}/rounds", json={"requested_by": "button"})
        return {key: answer.get(key) for key in ("round", "state", "joined")}

    def open_round(self, project_id: int) -> Row | None:
        """The round that is under way; None when there is none.

        Raises:
            BackendError: as request_round does.
        """
        rounds: list[Row] = self._ask("GET", f"/projects/{project_id}/rounds")
        return next((row for row in rounds if row.get("state") not in CLOSED_STATES), None)

    def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        url = f"{self._url}{path}"
        with service_session(self._url) as session:
            try:
                session.auth = (USER, self._settings.secret("trainer_password"))
                response = session.request(method, url, timeout=TIMEOUT_S, **kwargs)
            except MissingSecret as error:
                raise BackendError(503, str(error)) from error
            except requests.RequestException as error:
                raise BackendError(
                    503,
                    "the trainer does not answer; `make status` says whether it runs, `make logs` why not",
                ) from error
        return _content(response, url)


def _content(response: requests.Response, url: str) -> Any:
    try:
        content = response.json()
    except ValueError:
        content = None
    if response.status_code < 400 and content is not None:
        return content
    detail = (
        content.get("error") or content.get("detail") if isinstance(content, dict) else response.text[:200]
    )
    if response.status_code in (401, 403):
        detail = "it does not accept TRAINER_PASSWORD; restart both services with `make restart`"
    status = response.status_code if response.status_code in (404, 409, 422) else 503
    raise BackendError(status, f"the trainer refuses ({response.status_code}): {detail or url}")
