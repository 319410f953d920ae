"""Real Label Studio: what was learnt at once has its boxes in the tasks that people are handed next."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support.labelstudio import LabelStudio
from support.fake_backend import FakeBackend
from support.shapes import LABEL_CONFIG
from support.versions import add_version

from labelloop.registry import Card, Registry
from labelloop.studio import Studio
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.ahead import AHEAD, UNCERTAINTY
from trainer.worker.prelabel import Prelabeller

TASKS = 30


class Bench:
    """A project of its own, whose tasks have v0000's predictions. The last task is the least certain."""

    def __init__(self, studio: Studio, backend: FakeBackend, home: Path) -> None:
        self.studio, self.backend = studio, backend
        body = {"title": "learnt at once", "label_config": LABEL_CONFIG, "sampling": UNCERTAINTY}
        self.project = int(studio.request("POST", "/api/projects", json=body)["id"])
        rows = [{"image": f"/{number}.jpg"} for number in range(TASKS)]
        studio.request("POST", f"/api/projects/{self.project}/import", json=rows)
        registry = Registry(home / "models")
        self.models = registry.project(self.project)
        self.models.promote(add_version(self.models, home / "made"))
        self.prelabeller = Prelabeller(studio, Backend(backend.url, "x"), registry, home / "rounds", 1.0)
        self.run()
        for number, task in enumerate(studio.iter_tasks(self.project, fields="all")):
            path = f"/api/predictions/{task['predictions'][0]['id']}/"
            studio.request("PATCH", path, json={"score": 1 - number / 100})

    def run(self) -> int:
        return self.prelabeller.run(fetch(self.studio, self.project))

    def learn(self) -> str:
        card = Card(detector="yolox_nano", classes=["ball", "crate"], dataset_fingerprint="instant")
        version = self.models.instant.write("v0000", card, b"weights")
        self.models.instant.serve(version)
        self.backend.version = version
        return version

    def next(self) -> int:
        """The task that Label Studio hands out."""
        return int(self.studio.request("GET", f"/api/projects/{self.project}/next")["id"])

    def submit(self, task: int) -> None:
        self.studio.request("POST", f"/api/tasks/{task}/annotations", json={"result": [], "lead_time": 1.0})


@pytest.fixture
def bench(provisioned: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    fake = FakeBackend()
    with fake.serve() as fake.url:
        yield Bench(provisioned.studio, fake, tmp_path)


def test_the_next_task_has_the_newest_boxes_submit_by_submit(bench: Bench) -> None:
    tasks = [task["id"] for task in bench.studio.iter_tasks(bench.project)]
    for number in range(1, 4):
        task = bench.next()
        assert task in tasks[-AHEAD - number :], "the order of labelling stays"
        bench.submit(task)
        newest = [row["id"] for row in bench.studio.newest_labelled(bench.project, 2)]
        assert newest[0] == task and len(newest) == min(number, 2)
        version = bench.learn()
        assert bench.run() == AHEAD
        shown = bench.studio.task(bench.next())["predictions"]
        assert version in [prediction["model_version"] for prediction in shown]
        assert fetch(bench.studio, bench.project).model_version == version
    assert not fetch(bench.studio, bench.project).version_chosen, "nobody chose it"
    counts = bench.studio.prediction_counts(bench.project)
    assert counts == {"v0000": TASKS, **{f"i0000.000{number}": AHEAD for number in (1, 2, 3)}}
    bench.models.instant.serve(None)
    bench.backend.version = "v0000"
    assert bench.run() == 0, "the champion's are all there still"
    assert fetch(bench.studio, bench.project).model_version == "v0000"
