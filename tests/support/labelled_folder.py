"""Labelled images in a folder, and the little of Label Studio that a snapshot of them asks for."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from support.a_project import a_row
from support.shapes import LABEL_CONFIG

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset.snapshot import Snapshot, take

BOX = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["ball"]}
WHEN = "2026-11-22T18:00:00.000000Z"


def region(**value: object) -> dict[str, object]:
    kind = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return {"id": "r", **kind, "value": {**BOX, **value}}


class LabelledFolder:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tasks: list[dict[str, Any]] = []

    def project(self, project_id: int) -> dict[str, Any]:
        return a_row(id=project_id, label_config=LABEL_CONFIG)

    def count_tasks(self, project_id: int, *conditions: object) -> int:
        return len(self.tasks)

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        yield from self.tasks

    def add(self, name: str, content: bytes, *regions: dict[str, object]) -> str:
        """Adds a labelled image, with one box if none is given; returns the SHA-256 of its bytes."""
        path = self.settings.images_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        number = len(self.tasks) + 1
        submitted = {"id": number, "created_at": WHEN, "updated_at": WHEN, "was_cancelled": False}
        self.tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/local-files/?d=images/{name}"},
                "annotations": [{**submitted, "result": list(regions) or [region()]}],
            }
        )
        return sha256(content).hexdigest()

    def snapshot(self, number: int = 1) -> Snapshot:
        """What the round of that number has."""
        folder: Path = self.settings.rounds_dir / f"{number:05d}"
        return take(cast(Studio, self), 1, self.settings, folder, lambda fraction, words: None)
