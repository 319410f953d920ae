"""A simulated person's project in Label Studio, from its creation to its deletion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np

from labelloop.box_sizes import SIZES_FILE, SizesBook, sizes_in
from labelloop.boxes import Boxes, Floats
from labelloop.order import lot
from labelloop.regions import from_results, to_results
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from labelloop.task_filters import UNLABELLED, where
from trainer.peers.backend import Backend
from trainer.peers.projects import SIMULATED, Project, fetch
from trainer.simulate.annotator import annotation
from trainer.simulate.clicks import Ask, Click
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.patience import Say, patiently, unanswered

NOT_FOUND = 404
TAKEN = 409
TITLE_LENGTH = 50
SLOW_S = (3.0, 300.0)
# Label Studio's own random order cannot be repeated. The tasks are created in a pseudo-random order, so
# sequential sampling is a random order that is the same each time. Until a version has learnt from labels,
# the backend scores tasks by the same pseudo-random number, so up to then both orders are equal.
SAMPLING = {"uncertainty": "Uncertainty sampling", "random": "Sequential sampling"}


@dataclass(frozen=True)
class Task:
    """A task that Label Studio hands out: its image, the boxes that its page shows, and its data. draft: the
    number of the person's draft, whose boxes these are; None where they are the model's.
    """

    id: int
    image: TrueImage
    proposed: Boxes
    data: Mapping[str, Any] = field(default_factory=dict)
    draft: int | None = None


@dataclass(frozen=True)
class Standing:
    """What has become of a task. submitted: the regions of its annotation, None without one."""

    submitted: Sequence[Mapping[str, Any]] | None
    has_draft: bool


class LabellingProject:
    """One project, whose tasks are identified by their images.

    studio: Label Studio for an administrator. person: for the one who labels, if that is another one. say:
    is told where something is submitted again.
    """

    def __init__(
        self,
        studio: Studio,
        project: Project,
        images: dict[str, TrueImage],
        person: Studio | None = None,
        say: Say = lambda words: None,
    ) -> None:
        self._studio = studio
        self._say = say
        self._person = person or studio
        self._images = images
        self.project = project
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
        most: int | None = None,
        person: Studio | None = None,
        say: Say = lambda words: None,
        claim: Callable[[int], None] | None = None,
    ) -> "LabellingProject":
        """Creates a project with a task for each of the dataset's images to label.

        most: so many are labelled; in random order the others are never handed out, and so have no task.
        person: who labels. say: as for the project. claim: called with the project's number before it has any
        task.

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
        project = cls(studio, Project.of(row), by_url, person, say)
        try:
            if claim is not None:
                claim(project.id)
            tasks = sorted(({"image": url, "seed": seed} for url in by_url), key=lot)
            tasks = tasks[: most if order == "random" else None]
            studio.request("POST", f"/api/projects/{project.id}/import", json=tasks, timeout=SLOW_S)
        except BaseException:
            project.delete()
            raise
        return project

    def next(self) -> Task | None:
        """The task that a person gets by pressing Label; None when none is left."""
        try:
            row = self._person.request("GET", f"/api/projects/{self.id}/next")
        except StudioError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        image = self._images[row["data"]["image"]]
        drafts: list[Any] = row.get("drafts") or []
        shown = [*drafts, *row["predictions"]][:1]
        result = shown[0]["result"] if shown else []
        proposed, _ = from_results(result, self.project.labels, (image.width, image.height))
        return Task(int(row["id"]), image, proposed, row["data"], int(drafts[0]["id"]) if drafts else None)

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
        image, labels = task.image, self.project.labels
        there = to_results(click.there, labels, image.width, image.height)
        row = {"id": task.id, "data": task.data, "drafts": [{"result": there}], "annotations": []}
        region = backend.click(self.project, row, self._hint(task, click), click.again)
        boxes, _ = from_results([region] if region else [], labels, (image.width, image.height))
        return boxes.xyxy[0] if len(boxes) else np.zeros(4, dtype=np.float32)

    def _hint(self, task: Task, click: Click) -> dict[str, Any]:
        """A click as a region of Label Studio, a key point."""
        labels, image = self.project.labels, task.image
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
        """Submits the task's true boxes, once, even where Label Studio's answer is lost. Returns: their
        regions.
        """
        image = task.image
        result = annotation(image.boxes, self.project.labels, image.width, image.height)
        body: dict[str, Any] = {"result": result, "lead_time": seconds, "unique_id": str(uuid4())}
        if task.draft is not None:
            body["draft_id"] = task.draft
        try:
            self._annotate(task, body)
        except StudioError as error:
            if not unanswered(error):
                raise
            self._say(f"{error}; submitted again unless it is there")
            patiently(lambda: self._annotate_unless_there(task, body), self._say)
        return result

    def _annotate(self, task: Task, body: Mapping[str, Any]) -> None:
        """Label Studio takes an annotation's unique_id once; that it has it already is no error."""
        try:
            self._person.request("POST", f"/api/tasks/{task.id}/annotations/", json=body)
        except StudioError as error:
            if error.status != TAKEN:
                raise

    def _annotate_unless_there(self, task: Task, body: Mapping[str, Any]) -> None:
        if self.standing([task.id])[task.id].submitted is None:
            self._annotate(task, body)

    def note_sizes(self, models: Path, task: int, regions: Sequence[Mapping[str, Any]]) -> None:
        """Writes down the sizes of a task's boxes, by which clicks go, among the project's `models`. The
        worker does so within half a minute, but not for simulations.
        """
        sizes = sizes_in(regions, self.project.labels)
        SizesBook(models / SIZES_FILE).note([(task, sizes)])

    @cached_property
    def images(self) -> dict[int, TrueImage]:
        """By task."""
        tasks = self._studio.iter_tasks(self.id)
        return {int(task["id"]): self._images[task["data"]["image"]] for task in tasks}

    def standing(self, tasks: Sequence[int]) -> dict[int, Standing]:
        """What has become of tasks. Label Studio shows each person her own drafts, so she asks."""
        rows = self._person.iter_tasks(
            self.id, where("id", "in_list", list(tasks), "List"), fields="all", omit="predictions"
        )
        found = {}
        for row in rows:
            annotations = row.get("annotations") or []
            submitted = annotations[0]["result"] if row["total_annotations"] and annotations else None
            found[int(row["id"])] = Standing(submitted, bool(row.get("drafts")))
        return found

    def boxes(self, regions: Sequence[Mapping[str, Any]], image: TrueImage) -> Boxes:
        """The boxes of an annotation, in pixels."""
        found, _ = from_results(list(regions), self.project.labels, (image.width, image.height))
        return found

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
            for task in self._studio.iter_tasks(
                self.id, UNLABELLED, fields="all", omit="annotations,drafts", page_size=100
            )
            for prediction in task["predictions"]
            if prediction["model_version"] == version
        }

    def delete(self) -> None:
        self._studio.request("DELETE", f"/api/projects/{self.id}", timeout=SLOW_S)


def _url(settings: Settings, image: TrueImage) -> str:
    """Label Studio's URL of an uploaded file. Trainer and backend read the file from the volume."""
    return f"/data/upload/{quote(str(image.path.relative_to(settings.uploads_dir)))}"
