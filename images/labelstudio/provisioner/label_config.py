"""The project's labels, taken from LABEL_CONFIG again whenever that file changes."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from labelloop.label_fill import fill_in
from labelloop.labels import LabelConfigError, label_name, parse_label_config, read_tags
from labelloop.settings import Settings
from labelloop.studio import Row, Studio, StudioError
from provisioner.state import StateFile

log = logging.getLogger(__name__)

BAD_REQUEST = 400
RECOUNT_TIMEOUT_S = (3.0, 600.0)


class LabelConfigFile:
    """LABEL_CONFIG on disk. `name` is its path as the operator wrote it."""

    def __init__(self, settings: Settings) -> None:
        self.name = str(settings.label_config)
        self._path: Path = settings.label_config_path

    def xml(self) -> str:
        """Its text, checked.

        Raises:
            LabelConfigError: it cannot be read, or no box can be drawn with it.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LabelConfigError(
                f"LABEL_CONFIG={self.name}: {error}. configs/labels/ holds the files to choose from"
            ) from error
        try:
            if parse_label_config(text).image:
                raise LabelConfigError(
                    "its <Image> puts the image's URL together from a task's data, but the images of "
                    'volumes/images come with a whole one; write value="$image"'
                )
        except LabelConfigError as error:
            raise LabelConfigError(f"LABEL_CONFIG={self.name}: {error}") from error
        return text

    def filled(self) -> str:
        """Its text, checked, with what it leaves open: what the project gets.

        Raises:
            LabelConfigError: see `xml`.
        """
        return fill_in(self.xml()).xml


def update_label_config(studio: Studio, project: Row, config: LabelConfigFile, file: StateFile) -> None:
    """Gives the project the file's labels if the file has changed since they were last taken from it.

    What the file leaves open is filled in. What a person edits in Label Studio stays until then, also where
    she takes out what was filled in. A project to which an earlier release gave the file as it is gets the
    rest once.

    Raises:
        LabelConfigError: the file is no label config, or annotations hold labels that it lacks. The project
            keeps its labels.
    """
    xml = config.xml()
    fingerprint = hashlib.sha256(xml.encode()).hexdigest()
    has = (project["label_config"] or "").strip()
    as_it_is = has == xml.strip() and not file.state.label_config_filled
    if fingerprint != file.state.label_config_sha256 or as_it_is:
        filled = config.filled()
        if has != filled.strip():
            _refuse_orphans(studio, project, config, filled)
            _set(studio, project["id"], config, filled)
            log.info("project %s has the labels of %s now", project["id"], config.name)
    file.update(label_config_sha256=fingerprint, label_config_filled=True)


def _refuse_orphans(studio: Studio, project: Row, config: LabelConfigFile, xml: str) -> None:
    found = orphans(studio.annotated_tasks(project["id"]), xml)
    if found:
        raise LabelConfigError(
            f"LABEL_CONFIG={config.name} would orphan annotations of project {project['id']} "
            f"{project['title']!r}: {', '.join(found)}. The project keeps the labels it has. Put these back "
            "into the file, or rename them in the annotations too with `make labels RENAME=old=new`, or "
            "delete those annotations in Label Studio first, or start another project with another "
            "PROJECT_TITLE; then `make up`."
        )


def _set(studio: Studio, project_id: int, config: LabelConfigFile, xml: str) -> None:
    """Sets the labels. Label Studio refuses some by counts of its own, which drift: after a refusal it counts
    anew, and is asked again.
    """
    try:
        studio.update_project(project_id, label_config=xml)
    except StudioError as error:
        if error.status != BAD_REQUEST:
            raise
        recount = f"/api/projects/{project_id}/summary/reset"
        studio.request("POST", recount, json={}, timeout=RECOUNT_TIMEOUT_S)
        try:
            studio.update_project(project_id, label_config=xml)
        except StudioError as again:
            raise LabelConfigError(f"LABEL_CONFIG={config.name} is refused: {again}") from again


def orphans(tasks: Iterable[Row], xml: str) -> list[str]:
    """What the tasks' annotations hold that the config lacks, a phrase each, with the number of annotations.

    Label Studio's project summary has such counts, too, but loses some: when it counts anew, the last region
    of all overwrites those before it.
    """
    controls = _controls(xml)
    counts: Counter[str] = Counter()
    for task in tasks:
        annotations = task.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else ():
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                results = annotation.get("result")
                counts.update(
                    {
                        what
                        for result in (results if isinstance(results, list) else [])
                        for what in _lacking(result, controls)
                    }
                )
    return [
        f"{what} in {count} annotation{'' if count == 1 else 's'}" for what, count in sorted(counts.items())
    ]


def _lacking(result: object, controls: dict[str, set[str] | None]) -> Iterator[str]:
    control = result.get("from_name") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(control, str):
        return
    if control not in controls:
        yield f"control {control!r}"
        return
    known = controls[control]
    if known is None:
        return
    value_of = result.get("value")
    values = value_of.get(str(result.get("type"))) if isinstance(value_of, dict) else None
    for value in values if isinstance(values, list) else ():
        if isinstance(value, str) and value not in known:
            yield f"label {value!r}"


def _controls(xml: str) -> dict[str, set[str] | None]:
    """Per control of the config, by name: the values and aliases of its labels or choices.

    None: they come from each task.
    """
    return {
        control.get("name"): None
        if control.get("value").startswith("$")
        else {name for inner in control.iter() for name in (label_name(inner), inner.get("value"))}
        for control in read_tags(xml).iter()
        if control.get("toName")
    }
