"""A simulated person's project in Label Studio, from its creation to its deletion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from labelloop.box_sizes import SIZES_FILE, SizesBook, sizes_in
from labelloop.boxes import Boxes, Floats
from labelloop.order import lot
from labelloop.regions import from_results, to_results
from labelloop.settings import Settings
from labelloop.studio import UNLABELLED, Studio, StudioError
from trainer.peers.backend import Backend
from trainer.peers.projects import SIMULATED, Project, fetch
from trainer.simulate.annotator import annotation
from trainer.simulate.clicks import Ask, Click
from trainer.simulate.dataset import Dataset, TrueImage

NOT_FOUND = 404
TITLE_LENGTH = 50
SLOW_S = (3.0, 300.0)
# Label Studio's own random order cannot be repeated. The tasks are created in a pseudo-random order, so
# sequential sampling is a random order that is the same each time. Until a version has learnt from labels,
# the backend scores tasks by the same pseudo-random number, so up to then both orders are equal.
SAMPLING = {"uncertainty": "Uncertainty sampling", "random": "Sequential sampling"}


@dataclass(frozen=True)
class Task:
    """A task that Label Studio hands out: its image, the boxes that its page shows, and its data."""

    id: int
    image: TrueImage
    proposed: Boxes
    data: Mapping[str, Any] = field(default_factory=dict)


class LabellingProject:
    """One project, whose tasks are identified by their images."""

    def __init__(self, studio: Studio, project: Project, images: dict[str, TrueImage]) -> None:
        self._studio = studio
        self._images = images
        self._project = project
        self.id = project.id

    @classmethod
    def create(
        cls,
        studio: Studio,
        settings: Settings,
        dataset: Dataset,
        order: str,
        seed: int,
        title: str,
    ) -> "LabellingProject":
        """Creates a project with a task for each of the dataset's images to label.

        Their order is pseudo-random and depends on the seed, which is part of the tasks' data. The ML backend
        is not connected in Label Studio, because the trainer itself asks it for every task's boxes. So the
        next task depends only on the stored boxes and on the project's model_version.

        Raises:
            StudioError: Label Studio does not answer or refuses.
        """
        fields = {
            "title": title[:TITLE_LENGTH],
            "description": SIMULATED,
            "label_config": dataset.label_config_xml,
            "sampling": SAMPLING[order],
            "show_collab_predictions": True,
            "evaluate_predictions_automatically": False,
            "enable_empty_annotation": True,
        }
        by_url = {_url(settings, image): image for image in dataset.train}
        row = studio.request("POST", "/api/projects", json=fields)
        project = cls(studio, Project.of(row), by_url)
        try:
            tasks = sorted(({"image": url, "seed": seed} for url in by_url), key=lot)
            studio.request("POST", f"/api/projects/{project.id}/import", json=tasks, timeout=SLOW_S)
        except BaseException:
            project.delete()
            raise
        return project

    def next(self) -> Task | None:
        """The task that a person gets by pressing Label; None when none is left."""
        try:
            row = self._studio.request("GET", f"/api/projects/{self.id}/next")
        except StudioError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        image = self._images[row["data"]["image"]]
        shown: list[Any] = row["predictions"][0]["result"] if row["predictions"] else []
        proposed, _ = from_results(shown, self._project.labels, (image.width, image.height))
        return Task(int(row["id"]), image, proposed, row["data"])

    def asking(self, backend: Backend, task: Task) -> Ask:
        """Asks the ML backend for the box under a click on a task, in the words of Label Studio's editor."""

        def ask(click: Click) -> Floats:
            return self._fetched(backend, task, click)

        return ask

    def knows_clicks(self, backend: Backend) -> bool:
        """Whether the ML backend answers a click, which earlier releases take for a request for all boxes."""
        task = self.next()
        if task is None:
            return False
        middle = np.array([task.image.width / 2, task.image.height / 2])
        return bool(self._fetched(backend, task, Click(middle, 0, 0, Boxes.empty())).any())

    def _fetched(self, backend: Backend, task: Task, click: Click) -> Floats:
        image, labels = task.image, self._project.labels
        there = to_results(click.there, labels, image.width, image.height)
        row = {"id": task.id, "data": task.data, "drafts": [{"result": there}], "annotations": []}
        region = backend.click(self._project, row, self._hint(task, click), click.again)
        boxes, _ = from_results([region] if region else [], labels, (image.width, image.height))
        return boxes.xyxy[0] if len(boxes) else np.zeros(4, dtype=np.float32)

    def _hint(self, task: Task, click: Click) -> dict[str, Any]:
        """A click as a region of Label Studio, a key point."""
        labels, image = self._project.labels, task.image
        x, y = (100 * click.at / (image.width, image.height)).tolist()
        return {
            "id": "click",
            "type": "keypointlabels",
            "from_name": labels.control,
            "to_name": labels.to_name,
            "original_width": image.width,
            "original_height": image.height,
            "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [labels.names[click.label]]},
        }

    def submit(self, task: Task, seconds: float) -> list[dict[str, Any]]:
        """Submits the task's true boxes. Returns: their regions."""
        image = task.image
        result = annotation(image.boxes, self._project.labels, image.width, image.height)
        body = {"result": result, "lead_time": seconds}
        self._studio.request("POST", f"/api/tasks/{task.id}/annotations/", json=body)
        return result

    def note_sizes(self, models: Path, task: Task, regions: Sequence[Mapping[str, Any]]) -> None:
        """Writes down the sizes of a task's boxes, by which clicks go, among the project's `models`. The
        worker does so within half a minute, but not for simulations.
        """
        sizes = sizes_in(regions, self._project.labels)
        SizesBook(models / SIZES_FILE).note([(task.id, sizes)])

    def unlabelled(self) -> int:
        return self._studio.count_tasks(self.id, UNLABELLED)

    def model_version(self) -> str:
        """The version whose boxes the labelling page shows."""
        return fetch(self._studio, self.id).model_version

    def scores(self) -> dict[int, float]:
        """By unlabelled task, the score from the model in service, which uncertainty sampling uses."""
        version = self.model_version()
        return {
            int(task["id"]): float(prediction["score"] or 0.0)
            for task in self._studio.iter_tasks(self.id, UNLABELLED, fields="all", page_size=100)
            for prediction in task["predictions"]
            if prediction["model_version"] == version
        }

    def delete(self) -> None:
        self._studio.request("DELETE", f"/api/projects/{self.id}", timeout=SLOW_S)


def _url(settings: Settings, image: TrueImage) -> str:
    """Label Studio's URL of an uploaded file. Trainer and backend read the file from the volume."""
    return f"/data/upload/{quote(str(image.path.relative_to(settings.uploads_dir)))}"
