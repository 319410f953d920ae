"""The real Label Studio, our pre-labels, and predictions that others have made: whose boxes are shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.support.fake_backend import FakeBackend as AnyBackend
from integration.support.labelstudio import LabelStudio
from support.fake_backend import FakeBackend
from support.versions import add_version

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.prelabel import Prelabeller

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="widget"/></RectangleLabels></View>'
)
BOX = {
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "original_width": 10,
    "original_height": 10,
    "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0, "rectanglelabels": ["widget"]},
}
THEIRS = {"model_version": "yolo-old", "result": [BOX], "score": 0.9}


class Bench:
    """A project with five tasks imported with predictions. Its label is one that v0000 does not know."""

    def __init__(self, studio: Studio, backend: FakeBackend, home: Path) -> None:
        self.studio, self._home = studio, home
        body = {"title": "others", "label_config": CONFIG, "sampling": "Uncertainty sampling"}
        self.project = int(studio.request("POST", "/api/projects", json=body)["id"])
        rows = [{"data": {"image": f"/{n}.jpg"}, "predictions": [THEIRS]} for n in range(5)]
        studio.request("POST", f"/api/projects/{self.project}/import", json=rows)
        registry = Registry(home / "models")
        self.models: ProjectModels = registry.project(self.project)
        self.models.promote(add_version(self.models, home / "made"))
        self.backend = backend
        self._prelabeller = Prelabeller(studio, Backend(backend.url, "x"), registry, home / "rounds", 1.0)

    def run(self) -> int:
        return self._prelabeller.run(fetch(self.studio, self.project))

    def train(self) -> None:
        version = add_version(self.models, self._home / "trained", round_id=1)
        card = self.models.card(version).model_copy(update={"classes": ["widget"]})
        (self.models.folder(version) / "card.json").write_text(card.model_dump_json())
        self.models.promote(version)
        self.backend.version = version

    def predictions(self, task: int, version: str) -> list[dict[str, Any]]:
        rows = self.studio.request("GET", "/api/predictions/", params={"task": task})
        return [row for row in rows if row["model_version"] == version]

    def as_recorded_by_an_earlier_release(self) -> None:
        path = self._home / "rounds" / f"predicted-labels-{self.project}.json"
        path.write_text(path.read_text().replace(" read", ""))

    @property
    def shown(self) -> str:
        return fetch(self.studio, self.project).model_version

    def opened(self) -> list[str]:
        """The versions of the predictions that the next person is shown."""
        task = self.studio.request("GET", f"/api/projects/{self.project}/next")
        return [prediction["model_version"] for prediction in task["predictions"]]


@pytest.fixture
def bench(provisioned: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its backend answers with boxes that the project's config allows."""
    fake = FakeBackend()
    monkeypatch.setattr(
        fake, "_result", lambda task: {"result": [BOX], "score": 0.8, "model_version": fake.version}
    )
    with fake.serve() as url:
        fake.url = url
        yield Bench(provisioned.studio, fake, tmp_path)


def test_imported_boxes_are_shown_until_a_version_is_trained_here(bench: Bench) -> None:
    for _ in range(2):
        assert bench.run() == 0
    assert bench.shown == "yolo-old" and bench.opened() == ["yolo-old"]
    bench.train()
    assert bench.run() == 5
    assert bench.shown == "v0001" and bench.opened() == ["v0001"]
    assert bench.studio.prediction_counts(bench.project) == {"yolo-old": 5, "v0001": 5}


def test_a_version_set_by_hand_is_not_overruled(bench: Bench) -> None:
    bench.train()
    bench.run()
    bench.studio.update_project(bench.project, model_version="yolo-old")
    for _ in range(2):
        bench.run()
    assert bench.shown == "yolo-old" and bench.opened() == ["yolo-old"]


def test_predictions_imported_where_ours_are_shown_already(bench: Bench) -> None:
    bench.studio.show_predictions(bench.project, "")
    rows = [{"image": "/bare.jpg"}]
    bench.studio.request("POST", f"/api/projects/{bench.project}/import", json=rows)
    bench.studio.request(
        "DELETE", f"/api/projects/{bench.project}/model-versions/", json={"model_version": "yolo-old"}
    )
    assert bench.run() == 6 and bench.shown == "v0000"
    task = next(bench.studio.iter_tasks(bench.project))["id"]
    bench.studio.import_predictions(bench.project, [{"task": task, **THEIRS}])
    bench.run()
    assert bench.shown == "yolo-old"


def test_what_an_earlier_release_stored_for_an_unread_image_is_made_anew(bench: Bench) -> None:
    bench.train()
    bench.run()
    lie, honest, *_ = (task["id"] for task in bench.studio.iter_tasks(bench.project))
    for task, score in ((lie, 1.0), (honest, 0.7)):
        [mine] = bench.predictions(task, "v0001")
        changed = {"result": [], "score": score}
        bench.studio.request("PATCH", f"/api/predictions/{mine['id']}/", json=changed)
    bench.as_recorded_by_an_earlier_release()
    assert bench.run() == 1
    assert [p["result"] == [] for p in bench.predictions(lie, "v0001")] == [False]
    assert [p["result"] == [] for p in bench.predictions(honest, "v0001")] == [True]


def test_label_studio_stores_nothing_for_an_image_that_the_backend_could_not_read(
    provisioned: LabelStudio, backend: AnyBackend
) -> None:
    """Label Studio asks the backend itself when somebody opens a task without predictions."""
    studio = provisioned.studio
    rows = [{"image": "/gone.jpg"}, {"image": "/there.jpg"}]
    studio.request("POST", "/api/projects/1/import", json=rows)
    tasks = {row["data"]["image"]: row["id"] for row in studio.iter_tasks(1)}
    backend.unread = {"/gone.jpg"}
    opened: Callable[[str], Any] = lambda name: studio.request("GET", f"/api/tasks/{tasks[name]}")  # noqa: E731
    assert opened("/gone.jpg")["predictions"] == []
    assert len(opened("/there.jpg")["predictions"]) == 1
    backend.unread = set()
    assert len(opened("/gone.jpg")["predictions"]) == 1, "it is asked again"
