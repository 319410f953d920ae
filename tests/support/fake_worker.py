"""The trainer's worker for people who are simulated: a thread that answers within milliseconds."""

import threading
from pathlib import Path

from support.fake_labelling import LabellingStudio
from support.fake_learning import FakeLearning
from support.versions import add_version

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig
from labelloop.regions import to_results
from labelloop.verified import BESIDE
from trainer.rounds import heartbeat
from trainer.simulate.run import World
from trainer.worker.stages import Stages


class FakeWorker(threading.Thread):
    """Writes starting models, proposes nothing with v0000 and the truth with others, runs rounds."""

    def __init__(
        self,
        world: World,
        fake: LabellingStudio,
        truth: dict[str, Boxes],
        made: Path,
        config: LabelConfig,
        size: tuple[int, int],
    ) -> None:
        super().__init__(daemon=True)
        self._world, self._fake, self._truth, self._made = world, fake, truth, made
        self._config, self._size = config, size
        self.learning = FakeLearning({"candidate": 0.6, "v0000": 0.5, "v0001": 0.7})
        self.stopping = threading.Event()

    def run(self) -> None:
        stages = Stages(self._world.rounds, self._world.registry, self._world.studio, self.learning)
        while not self.stopping.is_set():
            projects = list(self._fake.projects)
            # What is deleted from here on is still looked after, as by the real worker.
            self.stopping.wait(0.02)
            for round_ in self._world.rounds.open_rounds():
                stages.run(round_.id)
            for project_id in projects:
                models = self._world.registry.project(project_id)
                if models.champion() is None:
                    models.promote(add_version(models, self._made / str(project_id)))
                self._predict(project_id, str(models.champion()))
            heartbeat.beat(self._world.settings.rounds_dir, dict.fromkeys(map(str, projects)), {})

    def _predict(self, project_id: int, version: str) -> None:
        lacking = [
            t for t in self._fake.unlabelled(project_id) if version not in self._fake.versions_of(t["id"])
        ]
        for task in lacking:
            boxes = Boxes.empty() if version == "v0000" else self._true(task["data"]["image"])
            row = {"task": task["id"], "model_version": version, "score": 1 / task["id"]}
            result = to_results(boxes, self._config, *self._size)
            if result:
                result[0][BESIDE] = 0.0
            number = len(self._fake.predictions) + 1
            self._fake.predictions.append({**row, "id": number, "result": result})
        if lacking and project_id in self._fake.projects:
            self._fake.projects[project_id]["model_version"] = version

    def _true(self, url: str) -> Boxes:
        """By the end of the name: Label Studio puts something before that of an upload."""
        return next(boxes for name, boxes in self._truth.items() if url.endswith(name))
