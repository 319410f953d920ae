"""Labelled tasks of a FakeStudio, with pictures in volumes/images behind them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support import shapes
from support.fake_studio import FakeStudio


def label(studio: FakeStudio, images: Path, *results: dict[str, Any], plain: bool = True) -> int:
    """A new task with a picture, submitted with the picture's own boxes, if `plain`, and these results."""
    number = studio.add_task(annotations=1)
    made = shapes.picture(number)
    made.image.save(images / f"{number}.png")
    studio.tasks[number]["data"] = {"image": f"/data/local-files/?d=images/{number}.png"}
    submit(studio, number, *(made.annotation() if plain else []), *results)
    return number


def submit(studio: FakeStudio, number: int, *results: dict[str, Any]) -> None:
    """A newer annotation in place of the task's."""
    when = datetime.now(UTC).isoformat()
    annotation = {"id": number, "result": list(results), "created_at": when, "updated_at": when}
    studio.tasks[number] |= {"annotations": [annotation], "updated_at": when}


def region(**change: Any) -> dict[str, Any]:
    """A box of a ball, unless it is changed."""
    value = {"x": 10, "y": 10, "width": 30, "height": 30, "rectanglelabels": ["ball"]}
    plain = {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return plain | change
