"""The requests of label-studio-ml's wire format. A check returns the body, its fields of the right types."""

from typing import Any

from flask import Request

from labelloop.twins import FIELD, Twin
from mlbackend.errors import BadRequest

Body = dict[str, Any]

START_TRAINING = "START_TRAINING"

_TYPE_NAMES = {str: "text", int: "a number", dict: "an object", list: "a list", bool: "true or false"}


def read_project_id(value: object) -> int:
    """The id in Label Studio's project key "<id>.<created>", or in a project object.

    Raises:
        BadRequest: there is none.
    """
    if isinstance(value, dict):
        value = value.get("id")
    head = value.partition(".")[0] if isinstance(value, str) else value
    if isinstance(head, str) and head.isascii() and head.isdigit() and len(head) < 19:
        return int(head)
    if isinstance(head, int) and not isinstance(head, bool) and 0 <= head < 10**18:
        return head
    raise BadRequest(f'project: expected "<id>.<created>" as Label Studio sends it, got {str(value)[:80]!r}')


def json_body(request: Request) -> Body:
    """The request's JSON object.

    Raises:
        BadRequest: it is none. werkzeug's own errors: no JSON, too large.
    """
    try:
        body = request.get_json()
    except RecursionError:
        raise BadRequest("the JSON is nested too deeply") from None
    if not isinstance(body, dict):
        raise BadRequest(f"expected a JSON object, got {_kind(body)}")
    return body


def check_setup(body: Body) -> Body:
    read_project_id(body.get("project"))
    _expect(body, "schema", str, required=True)
    _expect(body, "hostname", str)
    _expect(body, "access_token", str)
    return body


def check_predict(body: Body) -> Body:
    read_project_id(body.get("project"))
    _expect(body, "label_config", str)
    _expect(body, "model_version", str)
    tasks = _expect(body, "tasks", list, required=True)
    for index, task in enumerate(tasks):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise BadRequest(f'tasks[{index}]: expected an object with "data", got {str(task)[:80]!r}')
        if FIELD in task:
            _check_twin(index, task[FIELD])
    _expect(body, "params", dict)
    return body


def _check_twin(index: int, row: Any) -> None:
    try:
        Twin.read(row)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        shown = f"{type(error).__name__} {error}"
        raise BadRequest(f"tasks[{index}].{FIELD}: no labelled near-duplicate: {shown}") from error


def check_webhook(body: Body) -> Body:
    _expect(body, "action", str, required=True)
    return body


def _expect(body: Body, field: str, kind: type, required: bool = False) -> Any:
    value = body.get(field)
    if value is None and not required:
        return None
    if not isinstance(value, kind):
        raise BadRequest(f"{field}: expected {_TYPE_NAMES[kind]}, got {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)
