"""Label Studio's newest labels, a champion to learn upon, and what learns: for tests of learning at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.shapes import LABELS as SHAPES
from support.shapes import picture
from support.small_rounds import SmallRounds, label_config

from labelloop.registry import Card, ProjectModels
from labelloop.verified import marked
from trainer.instant.learner import Learner
from trainer.peers.projects import MLBackend, Project

LABELS = [*SHAPES]


class Labelled:
    """Label Studio, as far as learning asks it: the newest labelled tasks."""

    def __init__(self, home: SmallRounds) -> None:
        self._home = home
        self.tasks: list[dict[str, Any]] = []

    def submit(
        self,
        number: int,
        shapes: bool = True,
        minutes_ago: float = 0.0,
        verified: bool = False,
        first: datetime | None = None,
    ) -> None:
        """A picture's task with its shapes as boxes, or without any. verified: crop by crop. first: when it
        was submitted for the first time, if that was before.
        """
        made = picture(number, size=(128, 96))
        name = f"{number}.png"
        made.image.save(self._home.settings.images_dir / name)
        at = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat()
        result = [region_of(box, made.image.size) for box in made.boxes] if shapes else []
        if verified:
            result = [marked(row, "ann@example.org", 0.0) for row in result]
        annotation = {"id": 100 + len(self.tasks), "result": result, "updated_at": at}
        annotation["created_at"] = first.isoformat() if first is not None else at
        data = {"image": f"/data/local-files/?d=images/{name}"}
        self.tasks = [task for task in self.tasks if task["id"] != number]
        self.tasks.append({"id": number, "data": data, "annotations": [annotation]})

    def newest_labelled(self, project_id: int, count: int) -> list[dict[str, Any]]:
        return self.tasks[::-1][:count]


def region_of(box: tuple[int, ...], size: tuple[int, int]) -> dict[str, Any]:
    left, top, right, bottom, label = box
    (width, height), percent = size, 100.0
    value = {
        "x": percent * left / width,
        "y": percent * top / height,
        "width": percent * (right - left) / width,
        "height": percent * (bottom - top) / height,
        "rotation": 0,
        "rectanglelabels": [LABELS[label]],
    }
    names = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return {**names, "original_width": width, "original_height": height, "value": value}


def starting(home: SmallRounds, folder: Path, models: ProjectModels, **more: Any) -> ProjectModels:
    from labelloop.detector import load_detector_config
    from trainer.training.bundle import config_text
    from trainer.training.recipe import fit_model

    config = load_detector_config(home.detector, home.settings)
    classes = more.pop("classes", ["thing"])
    fit_model(config, classes)
    weights = home.weights(folder / f"weights-{len(models.versions())}.pth", classes, len(models.versions()))
    card = Card(detector=home.detector, classes=classes, **more)
    models.succeed(models.champion(), card, config_text(config), weights)
    return models


def new(home: SmallRounds, studio: Labelled, models: ProjectModels) -> Learner:
    return Learner(home.settings, studio, models)  # type: ignore[arg-type]


def project(labels: list[str] = LABELS) -> Project:
    backends = (MLBackend("http://ours", "labelloop"),)
    return Project(1, "shapes", "", datetime.now(UTC), label_config(labels), "v0000", backends=backends)
