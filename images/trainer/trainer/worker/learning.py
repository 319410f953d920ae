"""The steps of a round that need the heavy libraries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import Verdict
from trainer.rounds.metrics import Metrics

Progress = Callable[[float, str], None]


class Learning(Protocol):
    """The steps that need the heavy libraries. `RealLearning` has the real ones."""

    def snapshot(self, studio: Studio, project_id: int, folder: Path, progress: Progress) -> Snapshot: ...

    def train(
        self,
        folder: Path,
        project_id: int,
        snapshot: Snapshot,
        on_progress: Callable[[Metrics], None],
        should_cancel: Callable[[], bool],
    ) -> Path: ...

    def since(
        self, studio: Studio, folder: Path, snapshot: Snapshot, began: datetime, progress: Progress
    ) -> Sequence[SnapshotImage]: ...

    def evaluate(
        self, folder: Path, snapshot: Snapshot, progress: Progress, since: Sequence[SnapshotImage] = ()
    ) -> Evaluation: ...

    def decide(self, candidate: Evaluation, champion: Evaluation | None) -> Verdict: ...


@dataclass(frozen=True)
class RealLearning:
    """The real steps: snapshot, mmdet's training, evaluation and gate."""

    settings: Settings

    def snapshot(self, studio: Studio, project_id: int, folder: Path, progress: Progress) -> Snapshot:
        from trainer.dataset.snapshot import take

        return take(studio, project_id, self.settings, folder, progress)

    def train(
        self,
        folder: Path,
        project_id: int,
        snapshot: Snapshot,
        on_progress: Callable[[Metrics], None],
        should_cancel: Callable[[], bool],
    ) -> Path:
        from trainer.cluster.begin import on_the_cluster
        from trainer.training.crew import processes
        from trainer.training.members import Begin, on_this_machine
        from trainer.training.plan import write_job
        from trainer.training.process import candidate_folder, run

        if not candidate_folder(folder).is_dir():
            job = write_job(folder, self.settings, project_id, snapshot)
            begin: Begin = on_the_cluster
            if self.settings.cluster == "none":
                begin = on_this_machine(processes(self.settings, job.accelerator))
            run(folder, on_progress, should_cancel, begin=begin)
        return candidate_folder(folder)

    def since(
        self, studio: Studio, folder: Path, snapshot: Snapshot, began: datetime, progress: Progress
    ) -> Sequence[SnapshotImage]:
        from trainer.dataset.since import take

        return take(studio, snapshot.project, self.settings, folder, snapshot, began, progress)

    def evaluate(
        self, folder: Path, snapshot: Snapshot, progress: Progress, since: Sequence[SnapshotImage] = ()
    ) -> Evaluation:
        from trainer.judging.evaluate import evaluate

        return evaluate(folder, snapshot, self.settings, progress, since)

    def decide(self, candidate: Evaluation, champion: Evaluation | None) -> Verdict:
        from trainer.judging.gate import decide

        return decide(candidate, champion, champion is not None and champion.knows_labels, self.settings)
