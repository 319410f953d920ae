"""The ML backend as the trainer sees it, over HTTP on 127.0.0.1."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.answering import Answer, Row, Served


@dataclass
class FakeBackend:
    """version: what it serves. classes: those of the version as it was loaded; None: it doesn't say.
    device: what it computes on. unreadable: tasks whose image cannot be read. blank: tasks whose image shows
    nothing. sent: by id, each task as it was sent last. detected: what came to POST /detect. before_predict:
    called with the tasks' ids.
    """

    url: str = ""
    version: str | None = "v0000"
    classes: list[str] | None = None
    device: str | None = None
    unreadable: set[int] = field(default_factory=set)
    blank: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)
    sent: dict[int, Row] = field(default_factory=dict)
    down: bool = False
    detected: list[Row] = field(default_factory=list)
    results_missing: int = 0
    before_predict: Callable[[list[int]], None] = lambda ids: None

    def serve(self) -> Served:
        return Served(self)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        if self.down:
            return 503, {"status": "DOWN", "reason": "down for a test"}
        if path == "/health":
            up = self.version is not None
            served: Row = {"version": self.version, "classes": self.classes, "unreadable": []}
            projects = {"1": {**served, "device": self.device}}
            return 200 if up else 503, {
                "status": "UP" if up else "DOWN",
                "projects": projects,
                "reason": "no model",
            }
        if path == "/detect":
            return self._detect(body)
        ids = [task["id"] for task in body["tasks"]]
        self.before_predict(ids)
        self.asked += ids
        self.sent |= {task["id"]: task for task in body["tasks"]}
        return 200, {
            "results": [self._result(i) for i in ids][self.results_missing :],
            "model_version": self.version,
        }

    def _detect(self, body: Any) -> Answer:
        """It knows PNGs alone."""
        self.detected.append(body)
        if not base64.b64decode(body["image"]).startswith(b"\x89PNG"):
            return 415, {"error": "the image: not an image of a kind we read"}
        box = {"label": "ball", "score": 0.8, "x1": 1.0, "y1": 2.0, "x2": 30.5, "y2": 40.0}
        return 200, {"version": self.version, "width": 64, "height": 48, "boxes": [box]}

    def _result(self, task: int) -> Row:
        if task in self.unreadable:
            return {"model_version": self.version, "error": f"images/{task}.jpg: the file is empty"}
        box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["ball"]}}
        boxes = [] if task in self.blank else [box]
        return {"result": boxes, "score": 0.8, "model_version": self.version}
