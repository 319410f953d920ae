"""Two fields of ours in a project of Label Studio's API: `ml_backends` and `model_version_chosen`.

`ml_backends` lists the project's ML backends as {"id", "url", "title", "interactive"}; the last says whether
clicks are asked of it. Label Studio's own list asks every backend first, which may take seconds.

Label Studio sets a project's model_version itself, to the first predictions that are imported or to the title
of the first ML backend. The trainer sets it to the version in service, but not against a person's choice.
`model_version_chosen` is true after somebody set another version, and false once that version is left in any
way. Whoever sends `model_version_chosen: false` with a version, as the trainer does, chooses nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from projects.serializers import ProjectSerializer

from labelloop.connection import TITLE

CHOSEN, BACKENDS = "model_version_chosen", "ml_backends"
TABLE = "labelloop_chosen"
_CHOOSE = f"""
INSERT INTO {TABLE} VALUES (%s, %s) ON CONFLICT (project) DO UPDATE SET model_version = excluded.model_version
"""
_INSTANT = re.compile(r"i\d{4,}\.\d{4,}")
_OURS = re.compile(r"v\d{4,}|i\d{4,}\.\d{4,}|\d{4,}(\.\d{4,})? \(earlier\)")


def add() -> None:
    """Has Label Studio's API tell both fields, and take the second."""
    label_studios_update = ProjectSerializer.update
    label_studios_representation = ProjectSerializer.to_representation

    def update(serializer: Any, instance: Any, validated_data: dict[str, Any]) -> Any:
        before = instance.model_version or ""
        project = label_studios_update(serializer, instance, validated_data)
        if "model_version" in validated_data:
            _note(project.pk, before, project.model_version or "", serializer.initial_data)
        return project

    def to_representation(serializer: Any, instance: Any) -> Any:
        row = label_studios_representation(serializer, instance)
        told = serializer.context.get(TABLE)
        if told is None:  # once for a list of projects
            told = serializer.context[TABLE] = (_chosen(), _backends())
        chosen, backends = told
        version = instance.model_version or ""
        row[CHOSEN] = version != "" and chosen.get(instance.pk) == version
        row[BACKENDS] = backends.get(instance.pk, [])
        return row

    ProjectSerializer.update = update
    ProjectSerializer.to_representation = to_representation


def is_choice(before: str, now: str, told: object = None) -> bool | None:
    """Whether somebody who set a version chose it; None when that is as it was.

    before, now: the project's model_version. told: the field in the request.

    Label Studio's page sends the version with every other setting of its form. So whoever leaves a version of
    ours as it is chooses nothing. Our backend's title stands for the version in service. So does an instant
    version: it is superseded within minutes, and the page may have been opened before that.

    >>> is_choice("v0003", "yolo-old"), is_choice("yolo-old", "yolo-old"), is_choice("v0003", "v0002")
    (True, True, True)
    >>> is_choice("v0003", "v0003"), is_choice("v0002", "v0003", False), is_choice("yolo-old", "")
    (None, False, False)
    >>> is_choice("i0003.0002", "i0003.0001"), is_choice("yolo-old", "i0003.0001")
    (False, False)
    """
    if told is not None:
        return told in (True, "true", "True", 1, "1") and now != ""
    if now in ("", TITLE) or _INSTANT.fullmatch(now):
        return False
    return None if now == before and _OURS.fullmatch(now) else True


def _note(project_id: int, before: str, now: str, request: Mapping[str, Any]) -> None:
    from django.db import connection

    choice = is_choice(before, now, request.get(CHOSEN))
    if choice is None:
        return
    with connection.cursor() as cursor:
        make_table(cursor)
        if choice:
            cursor.execute(_CHOOSE, [project_id, now])
        else:
            cursor.execute(f"DELETE FROM {TABLE} WHERE project = %s", [project_id])


def _chosen() -> dict[int, str]:
    """The chosen versions by project."""
    from django.db import connection

    with connection.cursor() as cursor:
        make_table(cursor)
        cursor.execute(f"SELECT project, model_version FROM {TABLE}")
        return dict(cursor.fetchall())


def _backends() -> dict[int, list[dict[str, Any]]]:
    """The ML backends by project, the oldest first."""
    from ml.models import MLBackend

    found: dict[int, list[dict[str, Any]]] = {}
    fields = ("pk", "project", "url", "title", "is_interactive")
    for pk, project, url, title, interactive in MLBackend.objects.order_by("pk").values_list(*fields):
        row = {"id": pk, "url": url, "title": title or "", "interactive": interactive}
        found.setdefault(project, []).append(row)
    return found


def make_table(cursor: Any) -> None:
    """Makes the table unless it is there."""
    cursor.execute(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (project INTEGER PRIMARY KEY, model_version TEXT NOT NULL)"
    )
