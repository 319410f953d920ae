"""Label Studio as the trainer sees it, over HTTP on 127.0.0.1: projects, tasks, predictions, one local-files
storage.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from support import fake_pages, fake_verified
from support.answering import Answer, Row, Served
from support.shapes import LABEL_CONFIG

FIRST_IMPORTED = 1000
"""Ids of imported predictions begin behind it; tests give others to those that they add themselves."""
BALL: Row = {
    "id": 1,
    "was_cancelled": False,
    "created_at": "2026-11-22T19:02:05.237603Z",
    "updated_at": "2026-11-22T19:02:05.237603Z",
    "result": [
        {
            "id": "r1",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": 320,
            "original_height": 240,
            "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["ball"]},
        }
    ],
}
"""The annotation of a task that is labelled and of which a test says no more."""


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class FakeStudio:
    """State that tests set up and look at. url: where it is served. down: every request is dropped with 503;
    broken: projects of which nothing but the list is to be had; refuse: tasks whose boxes are refused. pages:
    of each page of tasks that was asked for, its number and how many tasks the query found; lists: of each
    list of tasks that lack a prediction, how many were asked for and how many there are. people: users
    by id, as our own address tells of them; asked_for: which of them were asked for, in turn; for a session,
    "me". sessions: whose each is and with which password, by the value of its cookie. cookies: each
    request's header, if it had one. asks: the user whose token asks, who is told of her own drafts alone.
    """

    url: str = ""
    projects: dict[int, Row] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    predictions: list[Row] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    synced: list[str] = field(default_factory=list)
    syncs: int = 0
    sync_bodies: list[Row] = field(default_factory=list)
    deleted: int = 0
    storage: Row = field(default_factory=dict)
    backends: list[Row] = field(default_factory=list)
    webhooks: list[Row] = field(default_factory=list)
    down: bool = False
    broken: set[int] = field(default_factory=set)
    refuse: set[int] = field(default_factory=set)
    pages: list[tuple[int, int]] = field(default_factory=list)
    lists: list[tuple[int, int]] = field(default_factory=list)
    people: dict[int, Row] = field(default_factory=dict)
    asked_for: list[int | str] = field(default_factory=list)
    sessions: dict[str, tuple[int, str]] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    asks: int = 1
    _last_id: int = 0
    before_import: Callable[[list[Row]], None] = lambda rows: None
    after_import: Callable[[], None] = lambda: None
    before_sync: Callable[[], None] = lambda: None
    before_verified: Callable[[list[Row]], None] = lambda items: None
    after_verified: Callable[[], None] = lambda: None

    def add_project(self, project_id: int = 1, label_config: str = LABEL_CONFIG) -> Row:
        self.projects[project_id] = {
            "id": project_id,
            "title": f"project {project_id}",
            "label_config": label_config,
            "created_at": "2026-11-22T18:02:05.237603Z",
            "model_version": "",
        }
        return self.projects[project_id]

    def add_task(self, project: int = 1, annotations: int = 0) -> int:
        task_id = len(self.tasks) + 1
        self.tasks[task_id] = {
            "id": task_id,
            "project": project,
            "data": {"image": f"/data/local-files/?d=images/{task_id}.jpg"},
            "total_annotations": annotations,
        }
        return task_id

    def add_person(self, person_id: int, email: str, administrator: bool = False) -> Row:
        self.people[person_id] = {
            "id": person_id,
            "email": email,
            "member": True,
            "administrator": administrator,
            "stamp": f"a stamp of {email}",
        }
        return self.people[person_id]

    def open_session(self, person_id: int) -> str:
        """The value of its cookie, which another password of the person's ends, as Label Studio's."""
        self._last_id += 1
        value = f"session-{self._last_id:08}"
        self.sessions[value] = person_id, self.people[person_id]["stamp"]
        return value

    def versions_of(self, task_id: int) -> list[str]:
        return [p["model_version"] for p in self.predictions if p["task"] == task_id]

    def serve(self) -> Served:
        return Served(self)

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: Any, cookie: str = ""
    ) -> Answer:
        if cookie:
            self.cookies.append(cookie)
        if self.down:
            return 503, {"detail": "down for a test"}
        if any(
            query.get("project") == [str(p)]
            or f"{path}/".startswith((f"/api/projects/{p}/", f"/labelloop/projects/{p}/"))
            for p in self.broken
        ):
            return 500, {"detail": "broken for a test"}
        if path == "/health":
            return 200, {"status": "UP"}
        if path in ("/labelloop/people/me", "/logout"):
            return self._session(path, cookie)
        if path.startswith("/labelloop/people/"):
            self.asked_for.append(int(path.split("/")[3]))
            found = self.people.get(self.asked_for[-1])
            return (200, dict(found)) if found else (404, {"detail": "Not found."})
        if path.startswith("/labelloop/projects/") and path.endswith("/lacking"):
            return self._lacking(int(path.split("/")[3]), body)
        if path.startswith("/labelloop/projects/") and path.endswith("/predictions"):
            return self._store(int(path.split("/")[3]), body)
        if path.startswith("/labelloop/projects/") and path.endswith("/tasks"):
            found = fake_pages.listed(self.tasks, int(path.split("/")[3]), query)
            self.pages.append((1, len(found)))
            told = ("id", "data", "annotations") if "labelled" in query else ("id", "data")
            return 200, {"tasks": [{n: v for n, v in self._whole(t).items() if n in told} for t in found]}
        if path.startswith("/labelloop/projects/") and path.endswith("/counts"):
            return fake_pages.counts(self.tasks, self.projects, int(path.split("/")[3]))
        if path.startswith("/labelloop/projects/"):
            self.before_verified(body["items"])
            done = fake_verified.take(self.tasks, body["items"], back=path.endswith("/undo"))
            self.after_verified()
            return 200, done
        if path == "/api/projects":
            return 200, {"results": self._listed(query), "next": None}
        if path == "/api/tasks":
            return 200, self._page(query)
        if path == "/api/ml":
            if method == "POST":
                self.backends.append(body)
            return 200, [b for b in self.backends if [str(b["project"])] == query.get("project")]
        if path == "/api/webhooks/":
            return 200, self.webhooks
        if path.startswith("/api/webhooks/"):
            self.webhooks = [w for w in self.webhooks if w["id"] != int(path.split("/")[3])]
            return 204, None
        if path == "/api/storages/localfiles":
            return 200, [{"id": 3, "created_at": "2026-11-22T18:02:05Z"} | self.storage]
        if path == "/api/storages/localfiles/3/sync":
            return self._sync(body or {})
        if path.startswith("/api/tasks/"):
            task = self.tasks.get(int(path.split("/")[3]))
            return (200, {"annotations": []} | task) if task else (404, {"detail": "Not found."})
        if path.startswith("/api/annotations/"):
            return self._change_annotation(int(path.split("/")[3]), body)
        if path.startswith("/api/predictions/"):
            return self._change_prediction(method, int(path.split("/")[3]), body)
        project_id = int(path.split("/")[3])
        if project_id not in self.projects:
            return 404, {"detail": "Not found."}
        if path.endswith("/model-versions/") and method == "GET":
            return 200, self._versions(project_id, extended="extended" in query)
        if method == "PATCH":
            return self._change_project(project_id, body)
        return 200, self._told(self.projects[project_id])

    def _session(self, path: str, cookie: str) -> Answer:
        """What Label Studio tells whoever has a session, and its end."""
        value = cookie.partition("=")[2]
        if path == "/logout":
            self.sessions.pop(value, None)
            return 200, None
        self.asked_for.append("me")
        person_id, stamp = self.sessions.get(value, (0, ""))
        person = self.people.get(person_id)
        if person is None or person["stamp"] != stamp:
            return 401, {"detail": "Authentication credentials were not provided."}
        if not person["member"]:
            return 403, {"detail": "This account is no longer a member."}
        return 200, dict(person)

    def _versions(self, project_id: int, extended: bool) -> Any:
        counts = Counter(
            p["model_version"] for p in self.predictions if self.tasks[p["task"]]["project"] == project_id
        )
        if not extended:
            return counts
        return {"static": [{"model_version": v, "count": count} for v, count in counts.items()], "live": None}

    def _told(self, project: Row) -> Row:
        """A project as our Label Studio tells of it."""
        backends = [b for b in self.backends if b["project"] == project["id"]]
        return project | {"ml_backends": [_backend(b) for b in backends]}

    def _change_project(self, project_id: int, body: Row) -> Answer:
        """As our Label Studio (provisioner.project_fields): whoever sets another version chooses it."""
        version, project = body.get("model_version"), self.projects[project_id]
        titles = [b.get("title") for b in self.backends if b["project"] == project_id]
        known = [p["model_version"] for p in self.predictions] + titles
        if version and version != project["model_version"] and version not in known:
            return 400, {"validation_errors": {"model_version": ["Model version doesn't exist"]}}
        chosen = {"model_version_chosen": bool(version)} if version != project["model_version"] else {}
        project.update((chosen if "model_version" in body else {}) | body)
        return 200, project

    def _listed(self, query: dict[str, list[str]]) -> list[Row]:
        if "include" not in query:
            return [self._told(row) | {"task_number": len(self.tasks)} for row in self.projects.values()]
        wanted = query["include"][0].split(",")
        rows = map(self._told, self.projects.values())
        return [{name: row[name] for name in wanted if name in row} for row in rows]

    def _page(self, query: dict[str, list[str]]) -> Row:
        asked = json.loads(query["query"][0])
        conditions = asked["filters"]["items"]
        number, size = int(query["page"][0]), int(query["page_size"][0])
        project = int(query["project"][0])
        rows = [
            task
            for task in self.tasks.values()
            if task["project"] == project and all(self._meets(task, condition) for condition in conditions)
        ]
        rows.sort(key=self._key(asked["ordering"][0].lstrip("-")), reverse=asked["ordering"][0][0] == "-")
        self.pages.append((number, len(rows)))
        if query.get("fields") == ["all"]:
            rows = [self._whole(row) for row in rows]
        return {"tasks": rows[(number - 1) * size : number * size], "total": len(rows)}

    def _whole(self, row: Row) -> Row:
        """A task with all its fields, as Label Studio tells of it."""
        drafts = row.get("drafts", [])
        whole = {
            "annotations": [BALL] * row["total_annotations"],
            "predictions": [p for p in self.predictions if p["task"] == row["id"]],
        }
        own = [draft for draft in drafts if draft.get("user") == self.asks]
        return {**whole, **row, "drafts": own, "draft_exists": bool(drafts)}

    def _key(self, field: str) -> Callable[[Row], Any]:
        """What tasks are sorted by. Scores are those of the version that the project shows."""
        if field == "tasks:updated_at":
            return lambda task: (task.get("updated_at", ""), task["id"])
        if field == "tasks:predictions_score":
            return lambda task: (self._shown_score(task), task["id"])
        return lambda task: task["id"]

    def _shown_score(self, task: Row) -> float:
        shown = self.projects[task["project"]]["model_version"]
        scores = [
            p["score"] for p in self.predictions if (p["task"], p["model_version"]) == (task["id"], shown)
        ]
        return float(max(scores, default=2.0))

    def _meets(self, task: Row, condition: Row) -> bool:
        name, value = condition["filter"].removeprefix("filter:tasks:"), condition["value"]
        match name, condition["operator"]:
            case "total_annotations", "equal":
                return bool(task["total_annotations"] == value)
            case "total_annotations", "greater":
                return bool(task["total_annotations"] > value)
            case "cancelled_annotations", "equal":
                return bool(task.get("cancelled_annotations", 0) == value)
            case "total_predictions", "equal":
                return bool(len(self.versions_of(task["id"])) == value)
            case "predictions_score", "equal":
                return value in [p["score"] for p in self.predictions if p["task"] == task["id"]]
            case "predictions_model_versions", "contains":
                return self._has_one_named_like(task, value)
            case "predictions_model_versions", "not_contains":
                return not self._has_one_named_like(task, value)
            case "updated_at", "greater" | "less" as operator:
                moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
                changed = datetime.fromisoformat(task.get("updated_at", _now()))
                return changed > moment if operator == "greater" else changed < moment
            case "id", "in_list":
                return task["id"] in value
            case "id", "in":
                return bool(value["min"] <= task["id"] <= value["max"])
        raise AssertionError(f"the fake knows no filter {condition}")

    def _has_one_named_like(self, task: Row, names: list[str]) -> bool:
        """As Label Studio has it: a part of the name will do."""
        return any(name in version for version in self.versions_of(task["id"]) for name in names)

    def _change_annotation(self, annotation_id: int, body: Any) -> Answer:
        """Annotations are in their tasks' rows, if a test put them there."""
        for task in self.tasks.values():
            for row in task.get("annotations", []):
                if row["id"] == annotation_id:
                    row.update(body, updated_at=_now())
                    task["updated_at"] = _now()
                    return 200, row
        return 404, {"detail": "Not found."}

    def _change_prediction(self, method: str, prediction_id: int, body: Any) -> Answer:
        found = [row for row in self.predictions if row.get("id") == prediction_id]
        if not found:
            return 404, {"detail": "not found"}
        if method == "DELETE":
            self.predictions = [row for row in self.predictions if row.get("id") != prediction_id]
            return 204, None
        found[0].update(body, updated_at=_now())
        return 200, found[0]

    def _sync(self, body: Row) -> Answer:
        """Makes tasks of the named files, or of all: of none that has a task, and of one that had a task only
        where it is asked to.
        """
        self.before_sync()
        self.syncs += 1
        self.sync_bodies.append(body)
        if self.storage.get("status") == "failed":
            return 200, {"id": 3} | self.storage
        had = {task["data"].get("image") for task in self.tasks.values()}
        for name in body.get("files", self.files):
            image = f"/data/local-files/?d=images/{name}"
            if image not in had and (name not in self.synced or body.get("again")):
                self.synced.append(name)
                self.tasks[self.add_task()]["data"] = {"image": image}
        return 200, {"id": 3, "labelloop": {"deleted": self.deleted}}

    def _wanted(self, project: int, asked: Row) -> list[Row]:
        """Unlabelled tasks that lack a prediction, as our Label Studio's module `predictions` finds them."""
        return [
            task
            for task in self.tasks.values()
            if task["project"] == project
            and not task["total_annotations"]
            and asked["version"] not in self.versions_of(task["id"])
            and not (asked["alone"] and self.versions_of(task["id"]))
            and (asked["among"] is None or task["id"] in asked["among"])
        ]

    def _lacking(self, project: int, asked: Row) -> Answer:
        found = self._wanted(project, asked)
        self.lists.append((asked["limit"], len(found)))
        if not asked["limit"]:
            return 200, {"total": len(found)}
        rest = sorted(task["id"] for task in found if task["id"] > asked["after"])
        told = [{"id": number, "data": self.tasks[number]["data"]} for number in rest[: asked["limit"]]]
        return 200, {"tasks": told}

    def _store(self, project: int, asked: Row) -> Answer:
        self.before_import(asked["rows"])
        wrong = [row["task"] for row in asked["rows"] if row["task"] in self.refuse and row["result"]]
        wanted = {task["id"] for task in self._wanted(project, asked)}
        stored = [row for row in asked["rows"] if row["task"] in wanted and row["task"] not in wrong]
        for row in stored:
            self._last_id += 1
            own = {"id": FIRST_IMPORTED + self._last_id, "created_at": _now(), "updated_at": _now()}
            self.predictions.append(own | row | {"model_version": asked["version"]})
        self.after_import()
        refused = [{"task": task, "reason": "invalid prediction"} for task in wrong]
        return 200, {"created": len(stored), "refused": refused}


def add_labelled(fake: FakeStudio, count: int, project: int = 1) -> list[int]:
    """Tasks with a ball each."""
    return [fake.add_task(project, annotations=1) for _ in range(count)]


def add_tasks(fake: FakeStudio, count: int) -> list[int]:
    return [fake.add_task() for _ in range(count)]


def _backend(row: Row) -> Row:
    return {
        "id": row.get("id"),
        "url": row["url"],
        "title": row.get("title"),
        "interactive": row.get("is_interactive", False),
    }
