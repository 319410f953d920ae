"""The loop's programs as they are, but that nothing is learnt: `python -m support.quick NAME ARGUMENT…`.

The worker, its rounds and starting models, and the ML backend are real processes on real files; only the
steps that take minutes are replaced, by ones that take QUICK_STEP_S. A step waits while the file `hold` in
LABELLOOP_HOME names it, and says in the file `at` that it has come there.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.fake_learning import FakeLearning, Progress

from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.env import get_settings
from trainer.judging.evaluate import Evaluation
from trainer.rounds.metrics import Metrics

STEPS = ("snapshot", "training", "evaluation", "promotion")
HELD_S = 180.0


def step(name: str) -> None:
    """Takes its time, and longer while the test holds it."""
    home = get_settings().labelloop_home
    (home / "at").write_text(name)
    time.sleep(float(os.environ.get("QUICK_STEP_S", "0.05")))
    deadline = time.monotonic() + HELD_S
    hold = home / "hold"
    while hold.exists() and hold.read_text() == name and time.monotonic() < deadline:
        time.sleep(0.01)


class Scores(dict[str, float]):
    """Every candidate is better than what was there before."""

    def __missing__(self, name: str) -> float:
        return 0.6 if name == "candidate" else 0.5


@dataclass
class SlowLearning(FakeLearning):
    scores: dict[str, float] = field(default_factory=Scores)

    def snapshot(self, studio: Studio, project_id: int, folder: Path, progress: Progress) -> Snapshot:
        step("snapshot")
        return super().snapshot(studio, project_id, folder, progress)

    def train(
        self,
        folder: Path,
        project_id: int,
        snapshot: Snapshot,
        on_progress: Callable[[Metrics], None],
        should_cancel: Callable[[], bool],
    ) -> Path:
        self.during_training = lambda: step("training")
        return super().train(folder, project_id, snapshot, on_progress, should_cancel)

    def evaluate(
        self, folder: Path, snapshot: Snapshot, progress: Progress, since: Sequence[SnapshotImage] = ()
    ) -> Evaluation:
        step("evaluation")
        return super().evaluate(folder, snapshot, progress)


def worker() -> int:
    from trainer.system.children import Child
    from trainer.worker import __main__ as program
    from trainer.worker import chores, runner, worker

    os.environ["INSTANT"] = "false"  # the versions here have no network to learn upon

    def spawn(arguments: list[str], log_path: Path) -> Child:
        return Child(["support.quick", arguments[0].rpartition(".")[2], *arguments[1:]], log_path)

    class Worker(worker.Worker):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts, spawn=spawn)

    vars(program).update(Worker=Worker)
    vars(worker).update(LOOK_S=0.5, TEND_S=0.05, PREDICT_EVERY_S=1.0)
    vars(runner).update(RETRY_PAUSES_S=(0.3, 0.6, 1.0))
    vars(chores).update(FIRST_PAUSE_S=0.3, LONGEST_PAUSE_S=1.0)
    return program.main()


def stages(round_id: str) -> int:
    from trainer.worker import stages

    for name in ("succeed", "complete"):
        original = getattr(ProjectModels, name)

        def slowly(models: ProjectModels, *arguments: Any, original: Callable[..., Any] = original) -> Any:
            step("promotion")
            return original(models, *arguments)

        setattr(ProjectModels, name, slowly)
    vars(stages)["RealLearning"] = lambda settings: SlowLearning()
    return stages.main([round_id])


def starting(project_id: str) -> int:
    import tempfile

    from support.versions import add_version

    from labelloop.registry import Registry
    from trainer.system.children import die_with_parent

    die_with_parent()
    models = Registry(get_settings().models_dir).project(int(project_id))
    if models.mend() is None:
        with tempfile.TemporaryDirectory() as folder:
            models.promote(add_version(models, Path(folder)))
    return 0


def scoring(project_id: str, *keys: str) -> int:
    from trainer.judging import scoring

    def judge(folder: Path, snapshot: Snapshot) -> Evaluation:
        return FakeLearning(Scores()).evaluate(folder, snapshot, lambda fraction, words: None)

    vars(scoring)["judge_with"] = lambda settings: judge
    return scoring.main([project_id, *keys])


def backend() -> int:
    from support.backend_home import FakeDetector
    from werkzeug.serving import make_server

    from labelloop.registry import Card
    from mlbackend.app import create_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, _, port = os.environ["MLBACKEND_BIND"].rpartition(":")

    def load(folder: Path) -> FakeDetector:
        return FakeDetector(Card.model_validate_json((folder / "card.json").read_bytes()))

    make_server(host, int(port), create_app(get_settings(), load), threaded=True).serve_forever()
    return 0


PROGRAMS: dict[str, Callable[..., int]] = {
    program.__name__: program for program in (worker, stages, starting, scoring, backend)
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
