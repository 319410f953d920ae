"""The real Label Studio, our ML backend and our pre-labels: a labelled frame's boxes in the next ones."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from support.backend_home import PASSWORD, Home
from support.films import encoded, moving
from werkzeug.serving import make_server

from labelloop.boxes import Boxes
from labelloop.studio import Studio
from labelloop.twins import is_marked
from trainer.dashboard.ledger import measure
from trainer.judging.effort import Work
from trainer.peers.backend import Backend
from trainer.peers.projects import Project, fetch
from trainer.worker.prelabel import Prelabeller

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="pet" predicted_values="cat"/><Label value="widget"/></RectangleLabels></View>'
)
FILM = moving(4, 3)


class Bench:
    """A project with the frames of a film. The model sees a pet in each, where there is none."""

    def __init__(self, studio: Studio, home: Home, backend_url: str) -> None:
        body = {"title": "film", "label_config": CONFIG, "sampling": "Uncertainty sampling"}
        self.studio, self.project_id = studio, int(studio.request("POST", "/api/projects", json=body)["id"])
        for number, (frame, _) in enumerate(FILM):
            (home.settings.images_dir / f"frame-{number}.png").write_bytes(encoded(frame))
        rows = [{"image": f"/data/local-files/?d=images/frame-{n}.png"} for n in range(len(FILM))]
        studio.request("POST", f"/api/projects/{self.project_id}/import", json=rows)
        self.tasks = [int(task["id"]) for task in studio.iter_tasks(self.project_id)]
        home.add_version(project=self.project_id)
        backend, rounds = Backend(backend_url, PASSWORD), home.settings.rounds_dir
        self._prelabeller = Prelabeller(studio, backend, home.registry, rounds, 10.0, home.settings)

    @property
    def project(self) -> Project:
        return fetch(self.studio, self.project_id)

    def run(self) -> int:
        return self._prelabeller.run(self.project)

    def submit(self, task: int, result: list[dict[str, Any]], **fields: Any) -> None:
        body = {"result": result, "lead_time": 5.0, **fields}
        self.studio.request("POST", f"/api/tasks/{task}/annotations/", json=body)

    def shown(self, task: int) -> dict[str, Any]:
        """The prediction that the labelling page shows."""
        found = self.studio.request("GET", f"/api/tasks/{task}")["predictions"]
        version = self.project.model_version
        [prediction] = [row for row in found if row["model_version"] == version]
        return dict(prediction)


@pytest.fixture
def bench(provisioned: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    home = Home.below(tmp_path)
    load = home.load

    def unsure(folder: Path) -> Any:
        detector = load(folder)
        detector.answer = lambda image: Boxes.of([[0, 0, 40, 20]], [0.9], [0])
        return detector

    home.load = unsure  # type: ignore[method-assign]
    app = home.client.application
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Bench(provisioned.studio, home, f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        home.stop.set()


def drawn(boxes: list[tuple[float, float, float, float]]) -> list[dict[str, Any]]:
    kind = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    size = {"original_width": 240, "original_height": 240}
    return [
        {
            **{"id": f"r{number}", **kind, **size},
            "value": {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rectanglelabels": ["widget"]},
        }
        for number, (x1, y1, x2, y2) in enumerate(boxes)
    ]


def test_a_labelled_frames_boxes_are_shown_in_the_next_one_and_counted_apart(bench: Bench) -> None:
    first, second, third = bench.tasks
    assert bench.run() == 3
    assert [is_marked(region) for region in bench.shown(second)["result"]] == [False]
    bench.submit(first, drawn(FILM[0][1]))
    assert bench.run() == 2
    for task, (_, boxes) in zip((second, third), FILM[1:], strict=True):
        shown = bench.shown(task)
        copied = [region for region in shown["result"] if is_marked(region)]
        assert len(copied) == 4 and len(shown["result"]) == 5 and shown["score"] == 1.0
        assert {region["meta"]["text"][0] for region in copied} == {f"from a near-duplicate, task {first}"}
        for region, (x1, y1, x2, y2) in zip(copied, boxes, strict=True):
            value = region["value"]
            corners = value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]
            assert corners == pytest.approx((x1, y1, x2, y2), abs=1.0)
    assert bench.run() == 0
    shown = bench.shown(second)
    kept = [region for region in shown["result"] if is_marked(region)][:3]
    bench.submit(second, kept, parent_prediction=shown["id"])
    stored = bench.studio.annotated_tasks(bench.project_id, predictions=True)
    [effort] = measure(stored, bench.project.labels)
    assert effort.images == 2 and effort.work == Work(deleted=2, drawn=4)
    assert effort.from_twins == Work(accepted=3, deleted=1)
