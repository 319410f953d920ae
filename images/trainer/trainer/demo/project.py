"""The demo's project in Label Studio. It is made once and found again by its description."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labelloop.label_fill import fill_in
from labelloop.studio import Studio
from trainer.demo.parts import LABELS, SIZE, picture
from trainer.peers.projects import DEMO, Project, all_projects
from trainer.simulate.dataset import TrueImage, label_config
from trainer.simulate.project import SLOW_S, LabellingProject

TITLE = "labelloop demo"
_NUMBER = re.compile(r"parts-(\d+)\.jpg$")
_AT_ONCE = 20


@dataclass(frozen=True)
class DemoProject:
    """labelling: the project as the simulated person uses it. images: how many it has. made: whether it was
    made just now.
    """

    labelling: LabellingProject
    images: int
    made: bool


def open_project(studio: Studio, images: int) -> DemoProject:
    """The demo's project. If it is missing, it is made with `images` pictures; if half filled, it is filled.

    Raises:
        StudioError: Label Studio does not answer or refuses.
    """
    project = find(studio)
    made = project is None
    if project is None:
        fields = {
            "title": TITLE,
            "description": DEMO,
            "label_config": fill_in(label_config(list(LABELS), {})).xml,
            "sampling": "Uncertainty sampling",
            "show_collab_predictions": True,
            "evaluate_predictions_automatically": False,
            "enable_empty_annotation": True,
        }
        project = Project.of(studio.request("POST", "/api/projects", json=fields))
    project_id = project.id
    there = _urls(studio, project_id)
    missing = range(len(there), images)
    for start in missing[::_AT_ONCE]:
        _add(studio, project_id, range(start, min(start + _AT_ONCE, images)))
    urls = _urls(studio, project_id)
    labelling = LabellingProject(studio, project, {url: _truth(url) for url in urls})
    return DemoProject(labelling, len(urls), made)


def find(studio: Studio) -> Project | None:
    """The demo's project, None where there is none."""
    return next((project for project in all_projects(studio) if project.description == DEMO), None)


def to_be_deleted(studio: Studio, project: Project) -> LabellingProject:
    """The project in the form that `remove` needs, without its pictures."""
    return LabellingProject(studio, project, {})


def _add(studio: Studio, project_id: int, numbers: Iterable[int]) -> None:
    """Uploads pictures as the browser's Import does, and makes tasks from them, in order."""
    # Each file needs its own field, as Label Studio keeps only the last file of a field.
    files = {p.name: (p.name, p.jpeg(), "image/jpeg") for p in map(picture, numbers)}
    path = f"/api/projects/{project_id}/import"
    answer = studio.request("POST", path, params={"commit_to_project": "false"}, files=files, timeout=SLOW_S)
    ids = answer["file_upload_ids"]
    uploads = studio.request("GET", f"/api/projects/{project_id}/file-uploads", params={"ids": str(ids)})
    tasks = [{"image": f"/data/{row['file']}"} for row in uploads]
    tasks.sort(key=lambda task: _number(task["image"]))
    studio.request("POST", path, json=tasks, timeout=SLOW_S)


def _urls(studio: Studio, project_id: int) -> list[str]:
    return [str(task["data"]["image"]) for task in studio.iter_tasks(project_id)]


def _number(url: str) -> int:
    found = _NUMBER.search(url)
    if found is None:
        raise ValueError(
            f"{url} is none of the demo's pictures; `make demo REMOVE=1` and `make demo` start anew"
        )
    return int(found[1])


def _truth(url: str) -> TrueImage:
    made = picture(_number(url))
    return TrueImage(made.name, Path(made.name), "", *SIZE, made.boxes)
