"""An ML backend that knows where the objects are, for people whose clicks are simulated."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.answering import Answer, Row
from support.fake_backend import FakeBackend

from labelloop.boxes import Boxes


@dataclass
class ClickBackend(FakeBackend):
    """fetches: the IoU of the box that the first, second … click on an object gets. able: whether it knows
    clicks at all; earlier releases answer with all boxes. truth: by image name. clicks: of each, how often
    it was clicked there before, and how many boxes the task's draft had.
    """

    fetches: tuple[float, ...] = (1.0,)
    able: bool = False
    truth: dict[str, Boxes] = field(default_factory=dict)
    clicks: list[tuple[int, int]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        context = (body or {}).get("params", {}).get("context")
        if not context or not self.able:
            return super().answer(method, path, query, body)
        (task,) = body["tasks"]
        hints, again = context["result"], context["again"]
        self.clicks.append((again, len(task["drafts"][0]["result"])))
        boxes = self.truth[Path(task["data"]["image"]).name]
        result = [self._box(hint, boxes, self.fetches[min(again, len(self.fetches) - 1)]) for hint in hints]
        return 200, {"results": [{"result": result, "score": 0.5, "model_version": self.version}]}

    def _box(self, hint: Row, boxes: Boxes, share: float) -> Row:
        """The object whose middle is the nearest to the click, cut off at the bottom to this share of it."""
        width, height = hint["original_width"], hint["original_height"]
        x, y = hint["value"]["x"] * width / 100, hint["value"]["y"] * height / 100
        x1, y1, x2, y2 = min(
            boxes.xyxy.tolist(),
            key=lambda box: abs((box[0] + box[2]) / 2 - x) + abs((box[1] + box[3]) / 2 - y),
            default=(0, 0, 9, 9),
        )
        return {
            "id": hint["id"],
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "origin": "prediction",
            "value": {
                "x": 100 * x1 / width,
                "y": 100 * y1 / height,
                "width": 100 * (x2 - x1) / width,
                "height": 100 * (y2 - y1) * share / height,
                "rotation": 0,
                "rectanglelabels": hint["value"]["keypointlabels"],
            },
        }
