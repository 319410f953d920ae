"""Label Studio with people in it: projects are made, filled, labelled task by task and deleted."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from support.answering import Answer, Row
from support.fake_studio import FakeStudio


@dataclass
class LabellingStudio(FakeStudio):
    """annotations: by task, what was submitted. uploads: files by id. deleted: projects."""

    annotations: dict[int, Row] = field(default_factory=dict)
    uploads: dict[int, str] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: Any, cookie: str = ""
    ) -> Answer:
        match method, path.strip("/").split("/"):
            case "POST", ["api", "projects"]:
                project = self.add_project(len(self.deleted) + len(self.projects) + 1)
                project.update(body)
                return 201, project
            case "POST", ["api", "projects", project_id, "import"] if isinstance(body, bytes):
                names = re.findall(rb'filename="([^"]+)"', body)
                ids = [len(self.uploads) + number for number in range(1, len(names) + 1)]
                paths = [f"upload/{project_id}/0a1b-{name.decode()}" for name in names]
                self.uploads.update(zip(ids, paths, strict=True))
                return 201, {"file_upload_ids": ids}
            case "GET", ["api", "projects", _, "file-uploads"]:
                return 200, [{"id": n, "file": self.uploads[n]} for n in json.loads(query["ids"][0])]
            case "POST", ["api", "projects", project_id, "import"]:
                for data in body:
                    self.tasks[self.add_task(int(project_id))]["data"] = data
                return 201, {"task_count": len(body)}
            case "GET", ["api", "projects", project_id, "next"]:
                return self._next(int(project_id))
            case "DELETE", ["api", "projects", project_id]:
                del self.projects[int(project_id)]
                self.deleted.append(int(project_id))
                return 204, None
            case "POST", ["api", "tasks", task_id, "annotations"]:
                self.annotations[int(task_id)] = body
                self.tasks[int(task_id)]["total_annotations"] = 1
                return 201, {"id": 1}
        return super().answer(method, path, query, body, cookie)

    def _next(self, project_id: int) -> Answer:
        """The least certain task, the way uncertainty sampling chooses."""
        version = self.projects[project_id]["model_version"]
        left = self.unlabelled(project_id)
        if not left:
            return 404, {"detail": "There are no tasks"}
        shown = {
            task["id"]: [p for p in self.predictions_of(task["id"]) if p["model_version"] == version]
            for task in left
        }
        chosen = min(left, key=lambda task: (shown[task["id"]][0]["score"], task["id"]))
        return 200, chosen | {"predictions": shown[chosen["id"]]}

    def unlabelled(self, project_id: int) -> Sequence[Row]:
        return [t for t in self.tasks.values() if t["project"] == project_id and not t["total_annotations"]]

    def predictions_of(self, task_id: int) -> list[Row]:
        return [p for p in self.predictions if p["task"] == task_id]

    def _page(self, query: dict[str, list[str]]) -> Row:
        page = super()._page(query)
        tasks = [task | {"predictions": self.predictions_of(task["id"])} for task in page["tasks"]]
        return {**page, "tasks": tasks}
