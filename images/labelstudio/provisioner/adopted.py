"""A project that somebody made in Label Studio, when our ML backend is connected to it.

It gets what `project` gives its own: instructions, a description, and the order of tasks. Without them, its
labellers are told nothing and get the tasks in the order of their import. What a person set stays; so does
whatever she takes away later, as all happens once: when the connection is made. Projects that were connected
before this release get instructions at the next provisioning, where they have none.
"""

import logging
from collections.abc import Mapping
from typing import Any

from labelloop import connection
from labelloop.instructions import ADOPTED, instructions
from labelloop.settings import Settings, get_settings
from labelloop.studio import Studio
from provisioner.state import StateFile

log = logging.getLogger(__name__)

UNCERTAINTY = "Uncertainty sampling"
LABEL_STUDIOS_ORDER = "Sequential sampling"


def what_is_open(project: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a project that nobody set, as they shall be.

    >>> own = {"expert_instruction": "Cats only", "description": "Our cats"}
    >>> what_is_open({**own, "sampling": "Sequential sampling"})
    {'sampling': 'Uncertainty sampling'}
    >>> sorted(what_is_open({"expert_instruction": "", "description": None, "sampling": "Uniform sampling"}))
    ['description', 'expert_instruction']
    """
    by_default = project["sampling"] in (None, "", LABEL_STUDIOS_ORDER)
    found = {"sampling": UNCERTAINTY} if by_default else {}
    if not (project["description"] or "").strip():
        found["description"] = ADOPTED
    return found | _instructions(project["expert_instruction"], {**project, **found}["sampling"])


def _instructions(has: str | None, sampling: str) -> dict[str, str]:
    """The project's instructions, where it has none."""
    if (has or "").strip():
        return {}
    return {"expert_instruction": instructions(by_uncertainty=sampling == UNCERTAINTY)}


def furnish_when_connected() -> None:
    """Has Label Studio do it whenever a connection to our backend is made, by whomever."""
    from django.db.models.signals import post_save
    from ml.models import MLBackend

    post_save.connect(_connected, sender=MLBackend, weak=False)


def _connected(sender: type, instance: Any, created: bool, **kwargs: Any) -> None:
    from projects.models import Project

    if not created or instance.url.rstrip("/") != connection.backend_url(get_settings()):
        return
    row = Project.objects.filter(pk=instance.project_id)
    for project in row.values("expert_instruction", "description", "sampling"):
        row.update(**what_is_open(project))


def instruct_connected(studio: Studio, settings: Settings, file: StateFile) -> None:
    """Gives instructions to the projects that an earlier release connected, once.

    Their order stays: after so long, it may be a choice.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    if file.state.connected_instructed:
        return
    url = connection.backend_url(settings)
    for listed in studio.projects():
        if any(backend["url"].rstrip("/") == url for backend in listed["ml_backends"]):
            project = studio.whole_project(listed["id"])
            if fields := _instructions(project["expert_instruction"], project["sampling"]):
                studio.update_project(project["id"], **fields)
                log.info("project %s has instructions now", project["id"])
    file.update(connected_instructed=True)
