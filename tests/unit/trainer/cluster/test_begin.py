"""What the end of a cluster's driver means for the round."""

from pathlib import Path

import pytest

from trainer.cluster import begin
from trainer.cluster.outcome import Outcome
from trainer.system.children import RETRY
from trainer.training.job import Job
from trainer.training.members import LOST
from trainer.training.process import TrainingFailed, TrainingKilled, TrainingWaits, run

JOB = Job(
    project_id=1, detector="x", why="", parent=None, start="", start_weights="", start_classes=[],
    iterations=1, threads=1, accelerator="cpu",
)  # fmt: skip


class FakeDriver:
    def __init__(self, status: int) -> None:
        self._status = status

    def status(self) -> int:
        return self._status

    def kill(self) -> None:
        pass

    def last_words(self) -> str:
        return "last words"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (RETRY, TrainingWaits, "^last words$"),
        (-6, TrainingWaits, "the cluster was lost; the round waits for it"),
        (LOST, TrainingKilled, "^last words$"),
        (-9, TrainingKilled, r"^training on the cluster was ended by .*SIGKILL"),
        (65, TrainingFailed, "^last words$"),
    ],
)
def test_how_a_driver_ends(
    status: int, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.json").write_text(JOB.model_dump_json())
    monkeypatch.setattr(begin, "Process", lambda module, folder, log, environment: FakeDriver(status))
    with pytest.raises(error, match=words) as found:
        run(tmp_path, lambda metrics: None, lambda: False, begin=begin.on_the_cluster)
    assert type(found.value) is error


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Outcome.read(tmp_path) is None
    outcome = Outcome(65, "process 2 of 2 on b", "training diverged")
    outcome.write(tmp_path)
    assert Outcome.read(tmp_path) == outcome
    (tmp_path / "outcome.json").write_text('{"status": 65, "wh')
    assert Outcome.read(tmp_path) is None
    Outcome.forget(tmp_path)
    Outcome.forget(tmp_path)
    assert not (tmp_path / "outcome.json").exists()
