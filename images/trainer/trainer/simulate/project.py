"""A simulated person's project in Label Studio, from its creation to its deletion."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from labelloop.boxes import Boxes
from labelloop.order import lot
from labelloop.regions import from_results
from labelloop.settings import Settings
from labelloop.studio import UNLABELLED, Studio, StudioError
from trainer.peers.projects import SIMULATED, Project, fetch
from trainer.simulate.annotator import annotation
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
    """A task that Label Studio hands out: its image, and the boxes that its page shows."""

    id: int
    image: TrueImage
    proposed: Boxes


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
        return Task(int(row["id"]), image, proposed)

    def submit(self, task: Task, seconds: float) -> None:
        """Submits the task's true boxes."""
        image = task.image
        result = annotation(image.boxes, self._project.labels, image.width, image.height)
        body = {"result": result, "lead_time": seconds}
        self._studio.request("POST", f"/api/tasks/{task.id}/annotations/", json=body)

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
