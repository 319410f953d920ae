"""A client of Label Studio's API, with the requests that the provisioner and the trainer need."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Self

import requests

from labelloop.errors import Explained
from labelloop.sessions import service_session
from labelloop.settings import Settings
from labelloop.task_filters import LABELLED, UNLABELLED, not_ahead, where

Row = dict[str, Any]

TIMEOUT_S = (3.0, 60.0)
PAGE_SIZE = 500
LISTED_AT_ONCE, LABELLED_AT_ONCE = 1000, 200
"""Tasks for a request: of all, of which little is told, and of labelled ones."""
LISTED = (
    "id",
    "title",
    "description",
    "label_config",
    "created_at",
    "model_version",
    "model_version_chosen",
    "ml_backends",
    "sampling",
)
"""The fields to ask for of projects. For its other fields, Label Studio counts the tasks, annotations and
predictions of every project, which is slow."""


class StudioError(Explained):
    """Label Studio refused a request or could not be reached.

    The message names the URL and the status, and quotes the answer.

    status: the HTTP status, 0 when there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def has_draft(task: Mapping[str, Any]) -> bool:
    """Whether anybody has a draft of a task that was read with all its fields.

    Its "drafts" are those of the one user whose token asks, and so never a labeller's.
    """
    return bool(task["draft_exists"])


def _ours(project_id: int, what: str) -> str:
    """The path of a route that the appliance's Label Studio alone has."""
    return f"/labelloop/projects/{project_id}/{what}"


class Studio:
    """Label Studio at `url`, with a legacy API token."""

    def __init__(self, url: str, token: str, timeout: tuple[float, float] = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = service_session(self.url)
        self._session.headers["Authorization"] = f"Token {token}"

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Connects to the Label Studio that the settings name. Raises MissingSecret."""
        return cls(settings.labelstudio_url, settings.secret("api_token"))

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """The decoded JSON answer, None when it is empty.

        Raises:
            StudioError: there is no answer, or the status is 400 or above.
        """
        url = f"{self.url}{path}"
        kwargs.setdefault("timeout", self._timeout)
        try:
            response = self._session.request(method, url, **kwargs)
        except requests.RequestException as error:
            raise StudioError(f"{method} {url}: Label Studio does not answer: {error}") from error
        if response.status_code >= 400:
            raise StudioError(
                f"{method} {url}: {response.status_code} {response.text[:500]}", response.status_code
            )
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise StudioError(
                f"{method} {url}: not JSON: {response.text[:200]}", response.status_code
            ) from error

    def healthy(self) -> bool:
        try:
            return bool(self._session.get(f"{self.url}/health", timeout=3).ok)
        except requests.RequestException:
            return False

    def wait(self, seconds: float) -> None:
        """Returns once Label Studio answers.

        Raises:
            StudioError: it did not answer within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not self.healthy():
            if time.monotonic() > deadline:
                raise StudioError(f"{self.url}/health did not answer within {seconds:.0f} s")
            time.sleep(0.5)

    def projects(self) -> list[Row]:
        """Every project, with the fields in LISTED."""
        return list(self._pages("/api/projects", "results", {"include": ",".join(LISTED)}))

    def project(self, project_id: int) -> Row:
        """A project with the fields in LISTED."""
        return dict(self.request("GET", f"/api/projects/{project_id}", params={"include": ",".join(LISTED)}))

    def whole_project(self, project_id: int) -> Row:
        """A project with all its fields."""
        return dict(self.request("GET", f"/api/projects/{project_id}"))

    def update_project(self, project_id: int, **fields: Any) -> Row:
        return dict(self.request("PATCH", f"/api/projects/{project_id}", json=fields))

    def backends(self, project_id: int) -> list[Row]:
        return list(self.request("GET", "/api/ml", params={"project": project_id}))

    def storages(self, project_id: int) -> list[Row]:
        """The project's local-files import storages."""
        return list(self.request("GET", "/api/storages/localfiles", params={"project": project_id}))

    def buckets(self, project_id: int) -> list[Row]:
        """The project's S3 import storages."""
        return list(self.request("GET", "/api/storages/s3", params={"project": project_id}))

    def sync_bucket(self, storage_id: int, after: str, most: int, seconds: float) -> Row:
        """Makes some `most` tasks for new keys of a bucket, of those after a key. "following" of the answer
        is the key to go on after, None at the end; "made" how many tasks; "problem" why it was not listed.
        """
        path = f"/api/storages/s3/{storage_id}/sync"
        return dict(self.request("POST", path, json={"after": after, "most": most}, timeout=(3.0, seconds)))

    def sync_storage(
        self,
        storage_id: int,
        seconds: float,
        files: Sequence[str] | None = None,
        again: bool = False,
        whole: bool = True,
    ) -> Row:
        """Makes tasks for the files that have never been one. The request lasts until that is done, and may
        take `seconds`.

        files: paths below volumes/images; by default all that the storage finds. again: make tasks of files
        whose tasks were deleted, too. whole: count those that stay out, for which all tasks are read.
        """
        path = f"/api/storages/localfiles/{storage_id}/sync"
        named = {} if files is None else {"files": list(files)}
        body = {"again": again, "whole": whole, **named}
        return dict(self.request("POST", path, json=body, timeout=(3.0, seconds)))

    def task(self, task_id: int) -> Row:
        """One task with its annotations. Raises StudioError: it is gone (404), or there is no answer."""
        return dict(self.request("GET", f"/api/tasks/{task_id}/"))

    def counts(self, project_id: int) -> tuple[int, int]:
        """How many tasks a project has, and how many of them have a submitted annotation."""
        answer = self.request("GET", _ours(project_id, "counts"))
        return int(answer["tasks"]), int(answer["labelled"])

    def count_tasks(self, project_id: int, *conditions: Row) -> int:
        """How many tasks meet every condition."""
        if conditions in ((), (LABELLED,), (UNLABELLED,)):
            every, labelled = self.counts(project_id)
            return every - labelled if UNLABELLED in conditions else labelled if conditions else every
        return int(self._tasks(project_id, conditions, 1)["total"])

    def all_tasks(self, project_id: int) -> Iterator[Row]:
        """Every task, as {"id", "data"}, by id."""
        return self._listed(project_id, {"limit": LISTED_AT_ONCE})

    def iter_tasks(
        self,
        project_id: int,
        *conditions: Row,
        fields: str = "task_only",
        omit: str = "",
        page_size: int = PAGE_SIZE,
    ) -> Iterator[Row]:
        """Tasks that meet every condition, by id, `page_size` per request.

        fields: "all" adds annotations and predictions. omit: fields to leave out of these, separated by
        commas.

        Requests ask for ranges of ids. Label Studio counts the whole result for every page, so numbered pages
        would take time quadratic in the number of tasks. They would also skip tasks when earlier ones cease
        to meet the conditions meanwhile.
        """
        first = self._tasks(project_id, conditions, page_size, fields, omit)
        yield from first["tasks"]
        if not first["tasks"] or int(first["total"]) <= len(first["tasks"]):
            return
        low = int(first["tasks"][-1]["id"]) + 1
        newest = self._tasks(project_id, conditions, 1, order="-tasks:id")["tasks"]
        high = int(newest[0]["id"]) if newest else 0
        width = page_size
        while low <= high:
            top = min(low + width - 1, high)
            within = where("id", "in", {"min": low, "max": top})
            found = self._tasks(project_id, (*conditions, within), page_size, fields, omit)["tasks"]
            yield from found
            if len(found) == page_size:
                low, width = int(found[-1]["id"]) + 1, max(width // 2, page_size)
            else:
                low, width = top + 1, width if len(found) > page_size // 2 else 2 * width

    def tasks_between(
        self, project_id: int, ids: tuple[int, int], *conditions: Row, omit: str = "", limit: int = PAGE_SIZE
    ) -> list[Row]:
        """Tasks with all that they have whose number is in a range, both ends included, and that meet every
        condition: the first `limit` of them, by id. omit: as in `iter_tasks`.
        """
        within = where("id", "in", {"min": ids[0], "max": ids[1]})
        return list(self._tasks(project_id, (*conditions, within), limit, "all", omit)["tasks"])

    def last_task(self, project_id: int) -> int:
        """The highest number of a project's tasks; 0 without any."""
        newest = self._tasks(project_id, (), 1, order="-tasks:id")["tasks"]
        return int(newest[0]["id"]) if newest else 0

    def annotated_tasks(self, project_id: int, predictions: bool = False) -> Iterator[Row]:
        """Tasks with at least one submitted annotation, by id, with their annotations: {"id", "data",
        "annotations"}. With predictions, which take many times as long, they have all that Label Studio
        tells, less drafts.
        """
        if predictions:
            return self.iter_tasks(project_id, LABELLED, fields="all", omit="drafts", page_size=100)
        return self._listed(project_id, {"labelled": True, "limit": LABELLED_AT_ONCE})

    def newest_labelled(self, project_id: int, count: int) -> list[Row]:
        """The `count` tasks with a submitted annotation that were changed last, but for those that were
        changed in the future, with their annotations.
        """
        wanted = LABELLED, not_ahead()
        answer = self._tasks(
            project_id, wanted, count, "all", "drafts,predictions", order="-tasks:updated_at"
        )
        return list(answer["tasks"])

    def first_tasks(self, project_id: int, count: int, order: str, *conditions: Row) -> list[Row]:
        """The first `count` tasks that meet every condition, in the order of a field, e.g. "tasks:id"."""
        return list(self._tasks(project_id, conditions, count, order=order)["tasks"])

    def task_pages(self, project_id: int, size: int, *conditions: Row) -> Iterator[list[Row]]:
        """Tasks that meet every condition, by id, up to `size` at a time."""
        tasks = self.iter_tasks(project_id, *conditions, page_size=size)
        while page := list(islice(tasks, size)):
            yield page

    def import_predictions(self, project_id: int, rows: Sequence[Row]) -> int:
        """Stores predictions ({"task", "result", "score", "model_version"}); returns how many."""
        answer = self.request("POST", f"/api/projects/{project_id}/import/predictions", json=list(rows))
        return int(answer["created"])

    def count_lacking(self, project_id: int, wanted: Row) -> int:
        """How many unlabelled tasks lack a prediction. wanted: which ones, {"version", "alone", "among"}, as
        the provisioner's module `predictions` has it.
        """
        return int(self.request("POST", _ours(project_id, "lacking"), json={**wanted, "limit": 0})["total"])

    def lacking(self, project_id: int, wanted: Row, size: int) -> Iterator[list[Row]]:
        """The unlabelled tasks that lack a prediction, as {"id", "data"}, by id, up to `size` at a time."""
        last = 0
        while True:
            asked = {**wanted, "after": last, "limit": size}
            page = list(self.request("POST", _ours(project_id, "lacking"), json=asked)["tasks"])
            if page:
                yield page
            if len(page) < size:
                return
            last = int(page[-1]["id"])

    def store_predictions(self, project_id: int, wanted: Row, rows: Sequence[Row]) -> Row:
        """Stores predictions ({"task", "result", "score"}) of the wanted version for the tasks that still
        lack one. Returns: {"created"}, how many, and {"refused"}, a list of {"task", "reason"}.
        """
        body = {**wanted, "rows": list(rows)}
        return dict(self.request("POST", _ours(project_id, "predictions"), json=body))

    def prediction_counts(self, project_id: int) -> dict[str, int]:
        """How many predictions of each model version the project has."""
        answer = self.request("GET", f"/api/projects/{project_id}/model-versions/")
        return {str(version): int(count) for version, count in dict(answer).items()}

    def update_annotation(self, annotation_id: int, results: Sequence[Any]) -> None:
        """Replaces an annotation's results. Raises StudioError: it is gone, or Label Studio refuses them."""
        self.request("PATCH", f"/api/annotations/{annotation_id}/", json={"result": list(results)})

    def model_versions(self, project_id: int) -> list[Row]:
        """The model versions of a project's predictions as {"model_version", "count", "latest"}, the newest
        first. Predictions without a version have None or "" there.
        """
        path = f"/api/projects/{project_id}/model-versions/"
        return list(dict(self.request("GET", path, params={"extended": "true"}))["static"])

    def show_predictions(self, project_id: int, version: str) -> None:
        """Sets the version whose predictions a project shows, as no person's choice.

        `model_version_chosen` is the appliance's own field; see the provisioner's module `project_fields`.
        """
        self.update_project(project_id, model_version=version, model_version_chosen=False)

    def delete_prediction(self, prediction_id: int) -> None:
        """Deletes a prediction. It is no error if it is gone already."""
        self._change_prediction("DELETE", prediction_id)

    def rename_prediction(self, prediction_id: int, version: str) -> None:
        """Sets a prediction's model_version. It is no error if the prediction is gone."""
        self._change_prediction("PATCH", prediction_id, json={"model_version": version})

    def _change_prediction(self, method: str, prediction_id: int, **kwargs: Any) -> None:
        try:
            self.request(method, f"/api/predictions/{prediction_id}/", **kwargs)
        except StudioError as error:
            if error.status != 404:
                raise

    def _listed(self, project_id: int, asked: Row) -> Iterator[Row]:
        """Tasks by id, as the provisioner's module `task_pages` lists them."""
        last = 0
        while True:
            page = self.request("GET", _ours(project_id, "tasks"), params={**asked, "after": last})["tasks"]
            yield from page
            if len(page) < asked["limit"]:
                return
            last = int(page[-1]["id"])

    def _tasks(
        self,
        project_id: int,
        conditions: Sequence[Row],
        limit: int,
        fields: str = "task_only",
        omit: str = "",
        order: str = "tasks:id",
    ) -> Row:
        """The first `limit` tasks that meet every condition as "tasks", and how many do as "total"."""
        query = {"filters": {"conjunction": "and", "items": list(conditions)}, "ordering": [order]}
        params = {
            "project": project_id,
            "page": 1,
            "page_size": limit,
            "fields": fields,
            "omit": omit,
            "query": json.dumps(query),
        }
        return dict(self.request("GET", "/api/tasks", params=params))

    def _pages(self, path: str, key: str, params: Row) -> Iterator[Row]:
        number = 1
        while True:
            answer = self.request("GET", path, params={**params, "page": number, "page_size": 100})
            yield from answer[key]
            if not answer.get("next"):
                return
            number += 1
