"""Renames labels of a project in Label Studio: `python -m provisioner.rename`.

Reads a JSON object from stdin: project (its id), names (by old name the new one), classes (of the starting
model), dry (true to change nothing) and file (null, or the hashes of LABEL_CONFIG before and after). Prints
what was changed, or would be, as JSON: title, config (its text under the new names), config_changed, and how
many annotations, drafts and predictions; or the one key error.

Label config, annotations, drafts and predictions change in one transaction, so that a kill leaves all or none
of it. When and by whom they were last changed stays. What is to be written is worked out before it, since
people who submit wait until it is over.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import itemgetter
from tempfile import TemporaryFile
from typing import Any

from labelloop.clocks import LEEWAY
from labelloop.errors import Explained
from labelloop.renaming import RenamedConfig, RenameError, rename_in_config, rename_in_results
from labelloop.settings import get_settings
from provisioner import django_app
from provisioner.state import StateFile

PORTION = 500
KINDS = {
    "annotations": ("Annotation", "project"),
    "drafts": ("AnnotationDraft", "task__project"),
    "predictions": ("Prediction", "project"),
}
"""By name in what is printed: Label Studio's model, and how it leads to its project."""


def main() -> int:
    order = json.load(sys.stdin)
    django_app.setup()
    try:
        done = rename(order)
    except Explained as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(done))
    return 0


def rename(order: dict[str, Any]) -> dict[str, Any]:
    """Does what the order says. Label Studio has to be loaded.

    Raises:
        RenameError: there is no such project, a label would be missing, or the label config is being changed
            at the same time.
        labels.LabelConfigError: no boxes are drawn in the project.
    """
    project = _project(order["project"])
    before = project.label_config
    config = rename_in_config(before, order["names"], order["classes"])
    folder = get_settings().labelstudio_dir
    with TemporaryFile("w+", dir=folder, encoding="utf-8") as scratch:
        began = datetime.now(UTC)
        counts = dict.fromkeys(KINDS, 0)
        for name, row in _changes(project.pk, config):
            counts[name] += 1
            if not order["dry"]:
                scratch.write(json.dumps([name, *row]) + "\n")
        if not order["dry"]:
            scratch.seek(0)
            _write(project.pk, before, config, map(json.loads, scratch), began - LEEWAY)
            _recount(project.pk, order["names"])
    if not order["dry"] and order["file"]:
        _keep_file_in_step(order["project"], **order["file"])
    told = {"title": project.title, "config": config.xml, "config_changed": config.xml != before}
    return told | counts


def _project(project_id: int) -> Any:
    from projects.models import Project

    project = Project.objects.filter(pk=project_id).first()
    if project is None:
        listed = ", ".join(f"{p.pk} ({p.title})" for p in Project.objects.order_by("pk")) or "none"
        raise RenameError(f"there is no project {project_id}; there are: {listed}")
    return project


def _rows(name: str, project_id: int) -> Any:
    """The project's annotations, drafts or predictions."""
    from tasks import models

    kind, key = KINDS[name]
    return getattr(models, kind).objects.filter(**{key: project_id})


def _changes(
    project_id: int, config: RenamedConfig, since: datetime | None = None
) -> Iterator[tuple[str, tuple[str, int, str]]]:
    """Of each row that holds one of the names: its kind, and its result under the new names as the database
    has it, its id, and when it was last changed. since: rows that have not changed since then do not count.
    """
    from django.db import connection

    for name in KINDS:
        rows, last = _rows(name, project_id), 0
        if since is not None:
            rows = rows.filter(updated_at__gte=since)
        field = rows.model._meta.get_field("result")
        fields = rows.order_by("pk").values_list("pk", "result", "updated_at")
        while portion := list(fields.filter(pk__gt=last)[:PORTION]):
            last = portion[-1][0]
            for pk, result, updated_at in portion:
                renamed = rename_in_results(result, config)
                if renamed is not None:
                    value = field.get_db_prep_save(renamed, connection)
                    # PostgreSQL's driver has values of its own for these, and reads their texts too.
                    text = value if isinstance(value, str) else json.dumps(renamed)
                    yield name, (text, pk, str(connection.ops.adapt_datetimefield_value(updated_at)))


def _write(
    project_id: int, before: str, config: RenamedConfig, changes: Iterable[list[Any]], since: datetime
) -> None:
    """Writes all changes and the label config in one transaction, as short as can be: nobody else can write.

    Rows that somebody has changed since they were read, or that are new, are read again.

    Raises:
        RenameError: somebody has changed the label config meanwhile.
    """
    from django.db import connection, transaction

    with transaction.atomic():
        project = _project(project_id)
        if project.label_config != before:
            raise RenameError(f"the label config of project {project_id} has just been changed; try again")
        written = expected = 0
        with connection.cursor() as cursor:
            for name, several in groupby(changes, key=itemgetter(0)):
                table = _rows(name, project_id).model._meta.db_table
                statement = f"UPDATE {table} SET result = %s WHERE id = %s AND updated_at = %s"
                while rows := [row for _, *row in islice(several, PORTION)]:
                    cursor.executemany(statement, rows)
                    written += cursor.rowcount
                    expected += len(rows)
        for name, (text, pk, _) in _changes(project_id, config, since if written == expected else None):
            _rows(name, project_id).filter(pk=pk).update(result=json.loads(text))
        if config.xml != before:
            project.label_config = config.xml
            project.save()


def _recount(project_id: int, names: dict[str, str]) -> None:
    """Has Label Studio count anew which labels are in use, if it counts one of the old names."""
    from projects.functions.utils import recalculate_created_annotations_and_labels_from_scratch

    project = _project(project_id)
    counted = (project.summary.created_labels, project.summary.created_labels_drafts)
    if any(name in labels for controls in counted for labels in controls.values() for name in names):
        recalculate_created_annotations_and_labels_from_scratch(
            project, project.summary, organization_id=project.organization_id
        )


def _keep_file_in_step(project: int, before: str, after: str) -> None:
    """Notes that the project has the labels of LABEL_CONFIG, in which `make` renames them, if it had them
    before. Otherwise the next `make up` would take the file for a change.
    """
    file = StateFile(get_settings().provisioned_path)
    if file.state.project == project and file.state.label_config_sha256 == before:
        file.update(label_config_sha256=after)


if __name__ == "__main__":
    sys.exit(main())
