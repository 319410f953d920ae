"""A client of the ML backend, in label-studio-ml's wire format."""

import base64
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import requests

from labelloop.connection import USER
from labelloop.errors import Explained
from labelloop.sessions import service_session
from labelloop.twins import FIELD
from trainer.env import TrainerSettings
from trainer.peers.projects import Project

Row = dict[str, Any]

POLL_S = 1.0
SENT = ("id", "data", FIELD)
HEALTH_TIMEOUT_S = (3.0, 10.0)
# A batch of a large detector on a CPU takes minutes for each of two looks, and shares it with another one.
PREDICT_TIMEOUT_S = (3.0, 1200.0)
DETECT_TIMEOUT_S = (3.0, 60.0)


class BackendError(Explained):
    """The ML backend is unreachable, refuses, or serves another version; the message names URL and reason."""


class BackendDown(BackendError):
    """The ML backend does not answer, or cannot predict, whatever project it is asked about."""


class OtherVersion(BackendError):
    """The backend answered with another version than the one asked for: the champion has just changed."""


class NoImage(BackendError):
    """What was sent is no image that can be read; the message says why."""


@dataclass(frozen=True)
class Unread:
    """A task that the backend made no prediction for, because its image could not be read."""

    task: int
    reason: str


class Backend:
    """The ML backend at `url`."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._session = service_session(self.url)
        self._session.auth = (USER, password)

    @classmethod
    def connect(cls, settings: TrainerSettings) -> Self:
        """Connects to the backend that the settings name. Raises MissingSecret."""
        return cls(settings.mlbackend_url, settings.secret("backend_password"))

    def health(self) -> Row:
        """The report of /health, whether the backend is healthy or not.

        Raises:
            BackendError: there is no answer, or it is not JSON.
        """
        url = f"{self.url}/health"
        try:
            answer = self._session.get(url, timeout=HEALTH_TIMEOUT_S).json()
        except requests.JSONDecodeError as error:
            raise BackendError(f"GET {url}: the answer is not JSON") from error
        except requests.RequestException as error:
            raise BackendDown(f"GET {url}: the ML backend does not answer: {error}") from error
        if not isinstance(answer, dict):
            raise BackendError(f"GET {url}: the answer is no JSON object: {str(answer)[:200]}")
        return answer

    def version(self, project_id: int) -> str | None:
        """The version that the backend serves for a project; None when it has loaded none."""
        return _version(self.health(), project_id)

    def wait_for(
        self,
        project_id: int,
        version: str,
        classes: Sequence[str],
        seconds: float,
        should_stop: Callable[[], bool],
    ) -> None:
        """Waits until the backend serves `version` for the project, or is healthy and would load it if asked.

        classes: those of the version's card. A backend that has others loaded it before a label was renamed.

        Raises:
            BackendError: it did not within `seconds`, or should_stop() was true; the message says what was
                last seen.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                health = self.health()
                down = health.get("status") != "UP"
                served = _version(health, project_id)
                known = _served(health, project_id).get("classes")
                if (served == version and known in (None, list(classes))) or (served is None and not down):
                    return
                seen = f"{self.url} serves {served or 'nothing'} for project {project_id}, not {version}"
                if served == version:
                    seen = f"{self.url} serves {version} for project {project_id} under its former labels"
            except BackendError as error:
                seen, down = str(error), isinstance(error, BackendDown)
            if time.monotonic() >= deadline or should_stop():
                kind = BackendDown if down else BackendError
                raise kind(f"{seen} (waited {seconds:.0f} s; see `make logs`)")
            time.sleep(POLL_S)

    def click(self, project: Project, task: Mapping[str, Any], hint: Row, again: int) -> Row | None:
        """The box that the backend has for a click, as a region of Label Studio; None without one, as from a
        backend that cannot do clicks.

        task: as Label Studio sends it, with what is in its drafts. hint: the region of the click. again: how
        often it was clicked at that place before.

        Raises:
            BackendError: there is no answer, or the status is 400 or above.
        """
        (answer,) = self._ask(project, [task], {"context": {"result": [hint], "again": again}})
        regions = (row for row in answer.get("result") or [] if isinstance(row, dict))
        return next((row for row in regions if row.get("id") == hint["id"]), None)

    def predict(
        self, project: Project, tasks: Sequence[Mapping[str, Any]], version: str, more: Row | None = None
    ) -> list[Row | Unread]:
        """One prediction per task, in the order of the tasks: {"task", "result", "score", "model_version"}.
        For a task whose image could not be read, it is an Unread. Of each task, what SENT names is sent.
        more: is sent besides.

        Raises:
            OtherVersion: the predictions are not those of `version`.
            BackendError: there is no answer, the status is 400 or above, or the predictions are not one per
                task.
        """
        rows = [{name: task[name] for name in SENT if name in task} for task in tasks]
        results = self._ask(project, rows, {}, more or {})
        others = {result.get("model_version") for result in results} - {version}
        if others:
            url = f"{self.url}/predict"
            raise OtherVersion(f"POST {url}: predictions of {', '.join(map(str, others))}, not of {version}")
        return [_row(task["id"], result, version) for task, result in zip(tasks, results, strict=True)]

    def _ask(
        self, project: Project, tasks: Sequence[Mapping[str, Any]], params: Row, more: Row | None = None
    ) -> list[Row]:
        body = {
            "tasks": list(tasks),
            "project": project.uid,
            "label_config": project.label_config,
            "params": params,
            **(more or {}),
        }
        return self.results("/predict", body, len(tasks))

    def results(self, path: str, body: Row, count: int) -> list[Row]:
        """What a request for `count` results is answered with.

        Raises:
            BackendError: there is no answer, the status is 400 or above, or they are not so many.
        """
        url = f"{self.url}{path}"
        try:
            response = self._session.post(url, json=body, timeout=PREDICT_TIMEOUT_S)
        except requests.RequestException as error:
            raise BackendDown(f"POST {url}: the ML backend does not answer: {error}") from error
        if response.status_code >= 400:
            raise BackendError(f"POST {url}: {response.status_code} {response.text[:500]}")
        try:
            results: list[Row] = response.json()["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(f"POST {url}: no results in {response.text[:200]}") from error
        if len(results) != count:
            raise BackendError(f"POST {url}: {len(results)} results, {count} were asked for")
        return results

    def detect(self, project: Project, image: bytes) -> Row:
        """The boxes of an image that belongs to no task: {"version", "width", "height", "boxes"}.

        Raises:
            NoImage: the bytes are no image that can be read. BackendDown: it does not answer, or cannot
                predict.
        """
        url = f"{self.url}/detect"
        body = {
            "project": project.uid,
            "label_config": project.label_config,
            "image": base64.b64encode(image).decode(),
        }
        try:
            response = self._session.post(url, json=body, timeout=DETECT_TIMEOUT_S)
            answer = response.json()
        except requests.RequestException as error:
            raise BackendDown(f"POST {url}: the ML backend does not answer: {error}") from error
        if response.status_code == requests.codes.unsupported_media_type:
            raise NoImage(str(answer.get("error")))
        if response.status_code >= 400 or not isinstance(answer, dict):
            raise BackendDown(f"POST {url}: {response.status_code} {response.text[:500]}")
        return answer


def _served(health: Row, project_id: int) -> Row:
    return (health.get("projects") or {}).get(str(project_id)) or {}


def _version(health: Row, project_id: int) -> str | None:
    version = _served(health, project_id).get("version")
    return str(version) if version else None


def _row(task_id: int, result: Row, version: str) -> Row | Unread:
    if result.get("error"):
        return Unread(task_id, str(result["error"]))
    score = result.get("score")
    usable = isinstance(score, int | float) and math.isfinite(score)
    return {
        "task": task_id,
        "result": result.get("result") or [],
        "score": score if usable else 0.0,
        "model_version": version,
    }
