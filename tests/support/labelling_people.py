"""Images that several people labelled, in the fake Label Studio, for tests of what is said of them."""

from collections.abc import Sequence
from typing import Any

from support.fake_studio import FakeStudio

LONG_AGO, BEGUN = "2020-11-22T18:00:00Z", "2020-11-22T19:00:00Z"
Box = dict[str, Any]


def box(x: float, y: float, label: str = "ball", side: float = 20.0) -> Box:
    """A region as the labelling page submits it, of an image of 640 x 480 pixels. x, y, side: in percent."""
    value = {"x": x, "y": y, "width": side, "height": side, "rotation": 0, "rectanglelabels": [label]}
    return {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "value": value,
    }


def submitted(user: int | None, boxes: Sequence[Box], minute: int = 0, **fields: Any) -> dict[str, Any]:
    """An annotation as Label Studio tells of it. minute: after 19:00, when it was submitted."""
    at = f"2020-11-22T19:{minute:02d}:00Z"
    row = {"completed_by": user, "updated_by": user, "created_at": at, "updated_at": at, "lead_time": 12.0}
    return row | {"result": list(boxes)} | fields


def labelled_image(
    studio: FakeStudio, *annotations: dict[str, Any], proposed: Sequence[Box] | None = None
) -> int:
    """An image with annotations, which was last changed long ago; its task's id. proposed: boxes of v0001."""
    task = studio.add_task(annotations=sum(not row.get("was_cancelled") for row in annotations))
    numbered = [{"id": 100 * task + number} | row for number, row in enumerate(annotations)]
    studio.tasks[task] |= {"annotations": numbered, "updated_at": BEGUN}
    if proposed is not None:
        made = {"id": task, "task": task, "created_at": LONG_AGO, "model_version": "v0001"}
        studio.predictions.append(made | {"result": list(proposed)})
    return task
