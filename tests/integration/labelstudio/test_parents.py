"""Real Label Studio: what a person has open can be submitted, whatever becomes of the model's boxes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from support.fake_backend import FakeBackend
from support.versions import add_version

from labelloop.labels import parse_label_config
from labelloop.registry import Registry
from labelloop.studio import Studio, StudioError
from trainer.dashboard.ledger import measure
from trainer.dataset.origin import earlier_name
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.prelabel import Prelabeller

TASKS = 30


def config(*labels: str) -> str:
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    boxes = f'<RectangleLabels name="label" toName="image">{tags}</RectangleLabels>'
    return f'<View><Image name="image" value="$image"/>{boxes}</View>'


class Bench:
    """A project of its own, pre-labelled with v0000 by a backend that sees nothing in any image."""

    def __init__(self, studio: Studio, backend: FakeBackend, home: Path) -> None:
        self.studio = studio
        body = {"title": "parents", "label_config": config("ball")}
        self.project = int(studio.request("POST", "/api/projects", json=body)["id"])
        rows = [{"image": f"/{number}.jpg"} for number in range(TASKS)]
        studio.request("POST", f"/api/projects/{self.project}/import", json=rows)
        registry = Registry(home / "models")
        models = registry.project(self.project)
        models.promote(add_version(models, home / "made"))
        backend.blank = {task["id"] for task in studio.iter_tasks(self.project)}
        self.prelabeller = Prelabeller(studio, Backend(backend.url, "x"), registry, home / "rounds", 1.0)
        self.run()

    def run(self) -> int:
        return self.prelabeller.run(fetch(self.studio, self.project))

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return list(self.studio.iter_tasks(self.project, fields="all"))

    def submit(self, task: int, parent: object, **fields: object) -> dict[str, Any]:
        """As the labelling page does."""
        body = {"result": [], "parent_prediction": parent, "lead_time": 3.0, **fields}
        return dict(self.studio.request("POST", f"/api/tasks/{task}/annotations", json=body))


@pytest.fixture
def bench(provisioned: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    fake = FakeBackend()
    with fake.serve() as fake.url:
        yield Bench(provisioned.studio, fake, tmp_path)


def test_labels_edited_while_a_task_is_open(bench: Bench) -> None:
    opened, labelled, *_ = bench.tasks
    before = bench.submit(labelled["id"], labelled["predictions"][0]["id"])
    bench.studio.update_project(bench.project, label_config=config("ball", "crate"))
    began = time.monotonic()
    assert bench.run() == TASKS - 1, "unlabelled tasks have boxes under the new labels"
    print(f"{TASKS} predictions renamed and made anew in {time.monotonic() - began:.2f} s")
    counts = bench.studio.prediction_counts(bench.project)
    assert counts == {earlier_name("v0000"): TASKS, "v0000": TASKS - 1}
    assert bench.studio.project(bench.project)["model_version"] == "v0000"

    shown = opened["predictions"][0]["id"]
    assert bench.submit(opened["id"], shown)["parent_prediction"] == shown
    (kept,) = bench.studio.request("GET", f"/api/tasks/{labelled['id']}/annotations")
    assert kept["parent_prediction"] == before["parent_prediction"] == labelled["predictions"][0]["id"]
    annotated = bench.studio.annotated_tasks(bench.project, predictions=True)
    (work,) = measure(list(annotated), parse_label_config(config("ball", "crate")))
    assert (work.version, work.images) == ("v0000", 2)
    assert bench.run() == 0


def test_a_prediction_that_is_gone_costs_nobody_an_annotation(bench: Bench) -> None:
    opened, other, *_ = bench.tasks
    shown = opened["predictions"][0]["id"]
    bench.studio.delete_prediction(shown)
    made = bench.submit(opened["id"], shown)
    assert made["parent_prediction"] is None and made["lead_time"] == 3.0
    changed = bench.studio.request(
        "PATCH", f"/api/annotations/{made['id']}/", json={"parent_prediction": shown}
    )
    assert changed["parent_prediction"] is None
    for field, value in (("parent_prediction", "nonsense"), ("parent_annotation", 10**9)):
        with pytest.raises(StudioError) as refused:
            bench.submit(other["id"], None, **{field: value})
        assert refused.value.status == 400, f"{field} is checked as ever"
