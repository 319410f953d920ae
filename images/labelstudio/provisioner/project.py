"""The project: created once with everything a labelling person and active learning need."""

import logging

from labelloop.settings import Settings
from labelloop.studio import Row, Studio, StudioError

from provisioner.creation import find_or_create
from provisioner.label_config import LabelConfigFile
from provisioner.state import StateFile

log = logging.getLogger(__name__)

TITLE_LENGTH = range(3, 51)

INSTRUCTIONS = """\
<h4>Correct what the model proposes</h4>
<ol>
<li>Look at the proposed boxes: move and resize them until they fit tightly, all of the object inside.</li>
<li>Delete boxes that are wrong; change the label of those that are misnamed.</li>
<li>Draw what was missed: press the label's number, then drag.</li>
<li><b>Submit</b>, also when nothing is left to mark: an image without boxes teaches the model, too.</li>
</ol>
<p>Use <b>Skip</b> only for images that cannot be judged: nothing is learnt from them. The next image is the
one that the model is least sure of.</p>
"""


class ProjectError(RuntimeError):
    """The project can't be made from the settings; the message says which and how to correct it."""


def ensure_project(studio: Studio, settings: Settings, config: LabelConfigFile, file: StateFile) -> Row:
    """The project of the state file, else the oldest with the title, else a new one. PROJECT_TITLE renames it
    when it changes.

    A project's other settings are set when it is created and are the person's own from then on.

    Raises:
        ProjectError: PROJECT_TITLE is no title.
        LabelConfigError: there is no project yet, and none can be made of LABEL_CONFIG.
    """
    title = settings.project_title
    if len(title) not in TITLE_LENGTH:
        raise ProjectError(
            f"PROJECT_TITLE={title!r} has {len(title)} characters; "
            f"Label Studio takes {TITLE_LENGTH[0]} to {TITLE_LENGTH[-1]}"
        )
    project = find_or_create(
        "project",
        lambda: _find(studio, title, file.state.project),
        lambda: _create(studio, title, config),
        file,
    )
    if file.state.title not in (None, title) and project["title"] != title:
        project = studio.update_project(project["id"], title=title)
        log.info("project %s renamed to %r", project["id"], title)
    file.update(project=project["id"], title=title)
    return project


def _find(studio: Studio, title: str, recorded: int | None) -> Row | None:
    if recorded is not None:
        try:
            return studio.project(recorded)
        except StudioError as error:
            if error.status != 404:
                raise
    ids = [project["id"] for project in studio.projects() if project["title"] == title]
    return studio.project(min(ids)) if ids else None


def _create(studio: Studio, title: str, config: LabelConfigFile) -> Row:
    fields = {
        "title": title,
        "description": "Drop images into volumes/images, correct the boxes; the model learns from that.",
        "label_config": config.xml(),
        "sampling": "Uncertainty sampling",
        "show_collab_predictions": True,
        "evaluate_predictions_automatically": True,
        "expert_instruction": INSTRUCTIONS,
        "enable_empty_annotation": True,
    }
    project = dict(studio.request("POST", "/api/projects", json=fields))
    log.info("project %s %r created from %s", project["id"], title, config.name)
    return project
