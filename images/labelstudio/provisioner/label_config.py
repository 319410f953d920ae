"""The project's labels, taken from LABEL_CONFIG again whenever that file changes."""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from labelloop.labels import LabelConfigError, parse_label_config
from labelloop.settings import Settings
from labelloop.studio import Row, Studio, StudioError

from provisioner.state import StateFile

log = logging.getLogger(__name__)


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
            parse_label_config(text)
        except LabelConfigError as error:
            raise LabelConfigError(f"LABEL_CONFIG={self.name}: {error}") from error
        return text


def update_label_config(studio: Studio, project: Row, config: LabelConfigFile, file: StateFile) -> None:
    """Gives the project the file's labels if the file has changed since they were last taken from it.

    Labels that a person edits in Label Studio stay until then.

    Raises:
        LabelConfigError: the file is no label config, or annotations hold labels that it lacks. The project
        keeps its labels.
    """
    xml = config.xml()
    fingerprint = hashlib.sha256(xml.encode()).hexdigest()
    if fingerprint == file.state.label_config_sha256:
        return
    if xml.strip() != (project["label_config"] or "").strip():
        _refuse_orphans(studio, project, config, xml)
        try:
            studio.update_project(project["id"], label_config=xml)
        except StudioError as error:
            if error.status != 400:
                raise
            raise LabelConfigError(f"LABEL_CONFIG={config.name} is refused: {error}") from error
        log.info("project %s has the labels of %s now", project["id"], config.name)
    file.update(label_config_sha256=fingerprint)


def _refuse_orphans(studio: Studio, project: Row, config: LabelConfigFile, xml: str) -> None:
    path = f"/api/projects/{project['id']}/summary"
    if not orphans(studio.request("GET", path), xml):
        return
    # The summary's counts drift when annotations change: they are made anew before anything is refused.
    studio.request("POST", f"{path}/reset", json={}, timeout=(3.0, 600.0))
    found = orphans(studio.request("GET", path), xml)
    if found:
        raise LabelConfigError(
            f"LABEL_CONFIG={config.name} would orphan annotations of project {project['id']} "
            f"{project['title']!r}: {'; '.join(found)}. The project keeps the labels it has. Put these back "
            "into the file, or delete those annotations in Label Studio first, or start another project with "
            "another PROJECT_TITLE; then `make up`."
        )


def orphans(summary: Row, xml: str) -> list[str]:
    """What annotations and drafts hold that the config lacks, a phrase each: control, label and count.

    summary: of the project, as Label Studio gives it: created_annotations {"control|object|type": n},
        created_labels and created_labels_drafts {control: {label: n}}.
    """
    controls = _controls(xml)
    found = []
    for key, count in (summary.get("created_annotations") or {}).items():
        control, _, kind = [*key.split("|"), "", ""][:3]
        if control not in controls and count:
            found.append(f"control {control!r} ({kind}) has {_times(count, 'annotation')}")
    for field, noun in (
        ("created_labels", "annotated region"),
        ("created_labels_drafts", "region of a draft"),
    ):
        for control, counts in (summary.get(field) or {}).items():
            for label, count in counts.items():
                if control in controls and label not in controls[control] and count:
                    found.append(f"label {label!r} has {_times(count, noun)}")
    return found


def _times(count: int, noun: str) -> str:
    head, _, tail = noun.partition(" of ")
    return f"{count} {head}{'' if count == 1 else 's'}{' of ' + tail if tail else ''}"


def _controls(xml: str) -> dict[str, set[str]]:
    """Per control of the config, by name: the values of its labels or choices."""
    root = ElementTree.fromstring(xml)
    return {
        tag.get("name", ""): set(_values(tag)) for tag in root.iter() if tag.get("toName") and tag.get("name")
    }


def _values(control: ElementTree.Element) -> Iterable[str]:
    for tag in control.iter():
        if tag is not control:
            yield tag.get("alias") or tag.get("value") or ""
