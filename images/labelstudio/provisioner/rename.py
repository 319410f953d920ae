"""Renames labels of a project in Label Studio: `python -m provisioner.rename`.

Reads a JSON object from stdin: project (its id), names (by old name the new one), classes (of the starting
model), dry (true to change nothing) and file (null, or the hashes of LABEL_CONFIG before and after). Prints
what was changed, or would be, as JSON: title, config (its text under the new names), config_changed, and how
many annotations, drafts and predictions; or the one key error.

Label config, annotations, drafts and predictions change in one transaction, so that a kill leaves all or none
of it. When and by whom they were last changed stays.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from labelloop.errors import Explained
from labelloop.renaming import RenamedConfig, RenameError, rename_in_config, rename_in_results
from labelloop.settings import get_settings
from provisioner import django_app
from provisioner.state import StateFile

PORTION = 500


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
        RenameError: there is no such project, or a label would be missing.
        labels.LabelConfigError: no boxes are drawn in the project.
    """
    from django.db import transaction
    from projects.models import Project

    with transaction.atomic():
        projects = Project.objects.all() if order["dry"] else Project.objects.select_for_update()
        project = projects.filter(pk=order["project"]).first()
        if project is None:
            listed = ", ".join(f"{p.pk} ({p.title})" for p in Project.objects.order_by("pk")) or "none"
            raise RenameError(f"there is no project {order['project']}; there are: {listed}")
        config = rename_in_config(project.label_config, order["names"], order["classes"])
        changed = config.xml != project.label_config
        counts = _rename_rows(project, config, order["dry"])
        if not order["dry"] and (changed or any(counts.values())):
            _write_config(project, config.xml)
    if not order["dry"] and order["file"]:
        _keep_file_in_step(order["project"], **order["file"])
    return {"title": project.title, "config": config.xml, "config_changed": changed, **counts}


def _rename_rows(project: Any, config: RenamedConfig, dry: bool) -> dict[str, int]:
    """How many annotations, drafts and predictions hold one of the names; renames these unless `dry`."""
    from tasks.models import Annotation, AnnotationDraft, Prediction

    counts = {}
    for name, rows in (
        ("annotations", Annotation.objects.filter(project=project)),
        ("drafts", AnnotationDraft.objects.filter(task__project=project)),
        ("predictions", Prediction.objects.filter(project=project)),
    ):
        counts[name] = 0
        for pk, result in _results(rows):
            renamed = rename_in_results(result, config)
            counts[name] += renamed is not None
            if renamed is not None and not dry:
                rows.model.objects.filter(pk=pk).update(result=renamed)
    return counts


def _results(rows: Any) -> Iterator[tuple[int, Any]]:
    """Id and result of each row, a portion at a time, while the rows may be changed."""
    last = 0
    while portion := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", "result")[:PORTION]):
        yield from portion
        last = portion[-1][0]


def _write_config(project: Any, xml: str) -> None:
    """Sets the label config, and has Label Studio count anew which labels are in use."""
    from projects.functions.utils import recalculate_created_annotations_and_labels_from_scratch

    project.label_config = xml
    project.save()
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
