"""A worker whose child processes only pretend."""

from pathlib import Path
from typing import Any

from support.fake_child import FakeChild

from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.rounds.table import Rounds
from trainer.worker.worker import Worker


class WorkerBench:
    def __init__(self, settings: TrainerSettings, studio: Studio, backend: Backend) -> None:
        self.settings, self.studio, self.backend = settings, studio, backend
        self.children: list[FakeChild] = []
        self.rounds = Rounds(settings.rounds_dir)
        self.models = Registry(settings.models_dir).project(1)
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        def spawn(arguments: list[str], log_path: Path) -> Any:
            self.children.append(FakeChild(arguments, log_path))
            return self.children[-1]

        return Worker(self.settings, self.studio, self.backend, spawn)

    def begin_round(self) -> FakeChild:
        self.rounds.request(1, "test")
        self.worker.runner.tend()
        return self.children[-1]

    def end(self, child: FakeChild, status: int) -> None:
        child.exit = status
        self.worker.runner.tend()
