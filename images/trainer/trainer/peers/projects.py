"""The projects that the loop is for: those in which bounding boxes are drawn."""

from typing import Any

from labelloop.errors import Explained
from labelloop.labels import LabelConfigError, LabelMap, parse_label_config
from labelloop.registry import Card
from labelloop.studio import Studio

Row = dict[str, Any]

SIMULATED = "Made by `labelloop simulate`, which deletes it when it ends."
# What becomes of a round whose project is gone.
NO_PROJECT = "cancelled: its project was deleted in Label Studio, or draws no boxes any more"
DEMO = "Made by `make demo`; `make demo REMOVE=1` removes it."


class NoProject(Explained):
    """It cannot be told which project is meant; the message lists those there are."""


def detection_projects(studio: Studio) -> list[Row]:
    """Label Studio's projects with a RectangleLabels control, by id."""
    return sort_projects(studio)[0]


def sort_projects(studio: Studio) -> tuple[list[Row], list[Row]]:
    """Label Studio's projects, by id: those with a RectangleLabels control, and those that are left alone."""
    projects = sorted(studio.projects(), key=lambda project: int(project["id"]))
    return [p for p in projects if _draws_boxes(p)], [p for p in projects if not _draws_boxes(p)]


def _draws_boxes(project: Row) -> bool:
    try:
        parse_label_config(project.get("label_config") or "")
    except LabelConfigError:
        return False
    return True


def label_map(project: Row, card: Card) -> LabelMap:
    """Which of the project's labels a version's classes become.

    Raises:
        LabelConfigError: the project draws no boxes.
    """
    return LabelMap.build(card.classes, parse_label_config(project["label_config"]), trained=card.trained)


def retrains_itself(project: Row) -> bool:
    """Whether new labels alone start rounds; simulation and demo ask for theirs at set numbers of labels."""
    return project.get("description") not in (SIMULATED, DEMO)


def may_be_adopted(project: Row) -> bool:
    """Whether the ML backend is to be connected; a simulation needs none, and the demo connects its own."""
    return project.get("description") not in (SIMULATED, DEMO)


def choose(projects: list[Row], wanted: int | None) -> Row:
    """The project with id `wanted`; without one, the only project there is, the demo's not counted beside it.

    Raises:
        NoProject: there is none, or several and none is named.
    """
    listed = ", ".join(f"{p['id']} ({p['title']})" for p in projects) or "none"
    if wanted is not None:
        found = next((p for p in projects if p["id"] == wanted), None)
        if found is None:
            raise NoProject(f"there is no project {wanted} in which boxes are drawn; there are: {listed}")
        return found
    mine = [p for p in projects if p.get("description") != DEMO] or projects
    if len(mine) != 1:
        raise NoProject(
            f"choose a project with PROJECT=<id>; there are: {listed}"
            if projects
            else "Label Studio has no project with <RectangleLabels>; `make up` makes one from LABEL_CONFIG"
        )
    return mine[0]
