"""Which tasks people get next, so that an instant version looks at these alone.

    <models>/<project id>/instant/order.json    the tasks in that order, as the champion's predictions have it

It is asked for once for each champion, while the project still shows the champion's predictions, since Label
Studio sorts by the scores of the version that is shown.
"""

import json
from contextlib import suppress
from typing import Any

from labelloop.batches import batches
from labelloop.files import write_text
from labelloop.order import lot
from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from labelloop.task_filters import UNLABELLED, where
from trainer.peers.projects import Project

AHEAD = 8
"""So many tasks have an instant version's boxes before they are asked for."""
KNOWN = 200
"""So many tasks are put in order at once."""
AT_ONCE = 24
ORDER = "order.json"
UNCERTAINTY = "Uncertainty sampling"


def few_next(studio: Studio, project: Project, models: ProjectModels) -> tuple[int, ...]:
    """The next tasks of a project, at most AHEAD, that nobody has labelled.

    Raises:
        StudioError: Label Studio does not answer or refuses. RegistryError: the champion is damaged.
    """
    champion = models.champion() or ""
    few, left = _unlabelled(studio, project.id, _known(models, champion))
    if len(few) < AHEAD:
        few, left = _unlabelled(studio, project.id, _in_order(studio, project, champion))
    write_text(models.instant.path / ORDER, json.dumps({"champion": champion, "tasks": left}) + "\n")
    return tuple(few)


def _known(models: ProjectModels, champion: str) -> list[int]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((models.instant.path / ORDER).read_bytes())
        if kept["champion"] == champion:
            return [int(number) for number in kept["tasks"]]
    return []


def _unlabelled(studio: Studio, project_id: int, order: list[int]) -> tuple[list[int], list[int]]:
    """The first AHEAD unlabelled tasks, and the order without what comes before the first of them."""
    few: list[int] = []
    for some in batches(order, AT_ONCE):
        these = where("id", "in_list", [*some], "List")
        there = {int(task["id"]) for task in studio.iter_tasks(project_id, UNLABELLED, these)}
        few += [number for number in some if number in there]
        if len(few) >= AHEAD:
            break
    return few[:AHEAD], order[order.index(few[0]) :] if few else []


def _in_order(studio: Studio, project: Project, champion: str) -> list[int]:
    """The unlabelled tasks, as Label Studio hands them out, as far as that can be told."""
    sampling = studio.project(project.id).get("sampling")
    if sampling != UNCERTAINTY:
        return [int(task["id"]) for task in studio.first_tasks(project.id, KNOWN, "tasks:id", UNLABELLED)]
    if project.model_version == champion:
        by_score = "tasks:predictions_score"
        return [int(task["id"]) for task in studio.first_tasks(project.id, KNOWN, by_score, UNLABELLED)]
    tasks: list[dict[str, Any]] = studio.first_tasks(project.id, 5 * KNOWN, "tasks:id", UNLABELLED)
    tasks.sort(key=lambda task: lot(task.get("data")))
    return [int(task["id"]) for task in tasks[:KNOWN]]
