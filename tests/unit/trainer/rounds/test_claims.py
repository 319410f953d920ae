"""A round's number is given once, and what another round has left in a folder is never taken up."""

import json
import shutil
from pathlib import Path

import pytest
from support.fake_learning import FakeLearning, made_snapshot
from support.fake_studio import FakeStudio
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.dataset.snapshot import SnapshotError, take
from trainer.env import TrainerSettings
from trainer.rounds.claims import claim
from trainer.rounds.folder import CLAIM, SNAPSHOT
from trainer.rounds.table import Round, Rounds, State
from trainer.training.job import Job, JobError
from trainer.training.plan import write_job
from trainer.worker.stages import Stages


class Bench:
    """Two projects with a starting model each, and one table of rounds."""

    def __init__(self, settings: TrainerSettings, studio: Studio, fake: FakeStudio, made: Path) -> None:
        self.settings, self.studio = settings, studio
        self.registry = Registry(settings.models_dir)
        fake.add_project(2)
        for project in (1, 2):
            fake.add_task(project, annotations=1)
            models = self.registry.project(project)
            models.promote(add_version(models, made))

    @property
    def rounds(self) -> Rounds:
        """The table as it is opened anew."""
        return Rounds(self.settings.rounds_dir, self.registry)

    def request(self, project: int) -> Round:
        return self.rounds.request(project, "a test")[0]

    def run(self, round_: Round, candidate: float = 0.6) -> tuple[Round, FakeLearning]:
        learning = FakeLearning({"candidate": candidate, "v0000": 0.5, "v0001": 0.5})
        return Stages(self.rounds, self.registry, self.studio, learning).run(round_.id), learning

    def restore_the_table(self, kept: bytes) -> None:
        for path in self.settings.rounds_dir.glob("rounds.sqlite3*"):
            path.unlink()
        (self.settings.rounds_dir / "rounds.sqlite3").write_bytes(kept)

    def table(self) -> bytes:
        return (self.settings.rounds_dir / "rounds.sqlite3").read_bytes()


@pytest.fixture
def bench(loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, tmp_path: Path) -> Bench:
    return Bench(loop_settings, studio, fake_studio, tmp_path / "made")


def test_a_restored_table_gives_no_number_whose_folder_is_there(bench: Bench) -> None:
    bench.run(bench.request(1), candidate=0.4)
    kept = bench.table()
    lost, _ = bench.run(bench.request(1))
    assert lost.version == "v0001"
    bench.restore_the_table(kept)
    after = bench.request(2)
    assert after.id == lost.id + 1
    closed, learning = bench.run(after)
    assert learning.calls[:2] == ["snapshot", "train"], "it has done its own work"
    assert closed.state is State.PROMOTED
    assert json.loads((bench.rounds.folder(after.id) / SNAPSHOT).read_bytes())["info"]["project"] == 2


def test_nor_one_that_a_version_names_when_the_folders_are_gone(bench: Bench) -> None:
    closed, _ = bench.run(bench.request(1))
    assert closed.version == "v0001"
    shutil.rmtree(bench.settings.rounds_dir)
    assert bench.request(1).id == closed.id + 1


def test_nor_one_that_a_removed_version_names(bench: Bench) -> None:
    closed, _ = bench.run(bench.request(1))
    models = bench.registry.project(1)
    models.promote("v0000")
    models.remove("v0001")
    shutil.rmtree(bench.settings.rounds_dir)
    assert bench.request(2).id == closed.id + 1


def test_a_folder_with_an_absurd_number_does_not_use_up_the_numbers(bench: Bench) -> None:
    (bench.settings.rounds_dir / "99999999999999999999").mkdir(parents=True)
    assert bench.request(1).id == 1


@pytest.mark.parametrize("marked", [True, False], ids=["with round.json", "of an earlier release"])
def test_a_strangers_folder_is_moved_aside_and_the_round_does_its_own_work(
    bench: Bench, marked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The table with an open round is restored; its folder is one of project 2, which the table lost."""
    round_ = bench.request(1)
    folder = bench.rounds.folder(round_.id)
    folder.mkdir()
    made_snapshot(2).write(folder)
    (folder / "candidate").mkdir()
    (folder / "candidate" / "weights.pth").write_bytes(b"of project 2")
    if marked:
        theirs = {"round": round_.id, "project": 2, "requested_at": "2026-11-01T08:00:00+00:00"}
        (folder / CLAIM).write_text(json.dumps(theirs))
    closed, learning = bench.run(round_)
    assert learning.calls[:2] == ["snapshot", "train"]
    assert (closed.state, closed.version) == (State.PROMOTED, "v0001")
    served = bench.registry.project(1).folder("v0001") / "weights.pth"
    assert served.read_bytes() == b"trained"
    [aside] = bench.settings.rounds_dir.glob("00001.of-another-round-*")
    assert (aside / "candidate" / "weights.pth").read_bytes() == b"of project 2", "nothing is lost"
    assert str(aside) in caplog.text
    assert ("project 2, requested at 2026-11-01" in caplog.text) is marked


def test_the_worker_moves_it_aside_before_it_writes_a_log(bench: Bench, backend: object) -> None:
    worker = WorkerBench(bench.settings, bench.studio, backend)  # type: ignore[arg-type]
    theirs = bench.rounds.folder(1)
    theirs.mkdir(parents=True)
    (theirs / CLAIM).write_text(json.dumps({"round": 1, "project": 2, "requested_at": "then"}))
    theirs.rename(bench.settings.rounds_dir / "away")
    worker.rounds.request(1, "a test")
    (bench.settings.rounds_dir / "away").rename(theirs)
    worker.worker.runner.tend()
    assert worker.children[-1].log_path == theirs / "log.txt"
    assert json.loads((theirs / CLAIM).read_bytes())["project"] == 1
    assert len(list(bench.settings.rounds_dir.glob("00001.of-another-round-*"))) == 1


def test_a_round_that_an_earlier_release_began_goes_on_in_its_folder(bench: Bench) -> None:
    round_ = bench.request(1)
    bench.rounds.move(round_.id, State.SNAPSHOTTING)
    folder = bench.rounds.folder(round_.id)
    folder.mkdir()
    made_snapshot(1).write(folder)
    closed, learning = bench.run(round_)
    assert closed.state is State.PROMOTED and "snapshot" not in learning.calls
    named = json.loads((folder / CLAIM).read_bytes())
    assert named == {"round": round_.id, "project": 1, "requested_at": round_.requested_at}


def test_the_same_weights_of_another_request_are_not_taken_for_this_rounds(bench: Bench) -> None:
    """Training is deterministic: the same labels give the same bytes."""
    first, _ = bench.run(bench.request(1))
    models = bench.registry.project(1)
    models.promote("v0000")
    shutil.rmtree(bench.settings.rounds_dir)
    again = Rounds(bench.settings.rounds_dir).request(1, "a table without a registry counts anew")[0]
    assert again.id == first.id
    closed, learning = bench.run(again)
    assert "evaluate candidate" in learning.calls
    assert (closed.state, closed.version) == (State.PROMOTED, "v0002")
    assert models.card("v0002").round_requested_at == again.requested_at


def test_a_damaged_claim_is_nobodys(bench: Bench) -> None:
    round_ = bench.request(1)
    folder = claim(bench.rounds, round_)
    (folder / CLAIM).write_text("{")
    (folder / "last.pth").write_text("whose?")
    assert not (claim(bench.rounds, round_) / "last.pth").exists()


def test_a_snapshot_or_job_of_another_project_is_refused(bench: Bench, tmp_path: Path) -> None:
    made_snapshot(2).write(tmp_path)
    with pytest.raises(SnapshotError, match=r"snapshot\.json is of project 2, not of 1; `make retrain`"):
        take(bench.studio, 1, bench.settings, tmp_path, lambda fraction, text: None)
    job = Job(
        project_id=2, detector="yolox_nano", why="", parent=None, start="", start_weights="",
        start_classes=[], iterations=1, threads=1, accelerator="cpu",
    )  # fmt: skip
    (tmp_path / "job.json").write_text(job.model_dump_json())
    with pytest.raises(JobError, match=r"job\.json is of project 2, not of 1; `make retrain`"):
        write_job(tmp_path, bench.settings, 1, made_snapshot(1))


def test_the_registry_counts_a_version_of_a_damaged_card_as_none(bench: Bench) -> None:
    models: ProjectModels = bench.registry.project(1)
    (models.folder("v0000") / "card.json").write_text("{")
    assert bench.registry.newest_round() == 0
