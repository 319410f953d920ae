"""The project: created once with everything a labelling person and active learning need."""

import logging

from labelloop.errors import Explained
from labelloop.instructions import DESCRIPTION, are_former, instructions
from labelloop.settings import Settings
from labelloop.studio import Row, Studio, StudioError
from provisioner.adopted import UNCERTAINTY
from provisioner.creation import Creator
from provisioner.label_config import LabelConfigFile
from provisioner.state import StateFile

log = logging.getLogger(__name__)

TITLE_LENGTH = range(3, 51)
NOT_FOUND = 404

FIELDS = {
    "description": DESCRIPTION,
    "expert_instruction": instructions(),
    "sampling": UNCERTAINTY,
    "show_collab_predictions": True,
    # Off: every listing of tasks would wait for predictions that the trainer is making already.
    "evaluate_predictions_automatically": False,
    "enable_empty_annotation": True,
}


class ProjectError(Explained):
    """The project can't be made from the settings; the message says which and how to correct it."""


def ensure_project(studio: Studio, settings: Settings, config: LabelConfigFile, file: StateFile) -> Row:
    """The project of PROJECT_TITLE: that of the state file, else the oldest of that title, else a new one.

    A person may rename it. Another PROJECT_TITLE makes another project. All other settings of the project are
    set when it is created; from then on people change them in Label Studio. Instructions of an earlier
    release that nobody changed give way to today's.

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
    if file.state.title != title:
        file.update(project=None, title=title, label_config_sha256=None, done=False)
    project, made = Creator(studio, file).find_or_create(
        lambda: _find(studio, title, file.state.project),
        "/api/projects",
        lambda: {**FIELDS, "title": title, "label_config": config.filled()},
    )
    if made:
        log.info("project %s %r created from %s", project["id"], title, config.name)
    elif are_former(project["expert_instruction"] or ""):
        studio.update_project(project["id"], expert_instruction=instructions())
    file.update(project=project["id"])
    return project


def _find(studio: Studio, title: str, recorded: int | None) -> Row | None:
    if recorded is not None:
        try:
            return studio.whole_project(recorded)
        except StudioError as error:
            if error.status != NOT_FOUND:
                raise
    ids = [project["id"] for project in studio.projects() if project["title"] == title]
    return studio.whole_project(min(ids)) if ids else None
