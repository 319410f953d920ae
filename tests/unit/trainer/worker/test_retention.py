"""Retention: what goes, what never goes, and what a kill leaves."""

import json
import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.a_project import a_project
from support.fake_learning import FakeLearning
from support.fake_studio import FakeStudio
from support.versions import add_version

from labelloop.registry import ProjectModels, Registry, RegistryError
from labelloop.studio import Studio, StudioError
from trainer.dataset.origin import earlier_name
from trainer.env import TrainerSettings
from trainer.rounds.claims import claim
from trainer.rounds.table import Rounds, State
from trainer.worker import retention
from trainer.worker.retention import Retention
from trainer.worker.stages import Stages

LONG_AGO = datetime.now(UTC) - timedelta(days=3)


class Bench:
    """Project 1 with v0000 in service, keeping two of everything."""

    def __init__(self, settings: TrainerSettings, studio: Studio, models: ProjectModels, made: Path) -> None:
        self.settings = settings.model_copy(
            update={"keep_rounds": 2, "keep_versions": 2, "keep_predictions": 2}
        )
        self.studio, self.models, self.made = studio, models, made
        self.registry, self.rounds = Registry(settings.models_dir), Rounds(settings.rounds_dir)
        self.retention = Retention(self.settings, studio, self.registry, self.rounds)

    def add(self, parent: str | None = None, age: datetime = LONG_AGO) -> str:
        """A promoted version, made at `age`."""
        version = add_version(self.models, self.made)
        card = self.models.folder(version) / "card.json"
        card.write_text(
            self.models.card(version)
            .model_copy(update={"created_at": age, "parent": parent})
            .model_dump_json()
        )
        self.models.promote(version)
        return version

    def round(self, mAP: float) -> int:
        """One that ran to its end, with all that it leaves; the id."""
        learning = FakeLearning({"candidate": mAP, **dict.fromkeys(self.models.versions(), 0.5)})
        opened, _ = self.rounds.request(1, "a test")
        folder = claim(self.rounds, opened)
        for name in ("last.pth", "start.pth", "log.txt", "metrics.jsonl"):
            (folder / name).write_text("much")
        Stages(self.rounds, self.registry, self.studio, learning).run(opened.id)
        return opened.id

    def run(self, **project: Any) -> None:
        self.retention.run(a_project(**project))

    def left(self, round_id: int) -> set[str]:
        return {path.name for path in self.rounds.folder(round_id).iterdir()}


@pytest.fixture
def bench(loop_settings: TrainerSettings, studio: Studio, models: ProjectModels, tmp_path: Path) -> Bench:
    return Bench(loop_settings, studio, models, tmp_path / "made")


def test_old_rounds_keep_their_scores_and_verdict_alone(bench: Bench) -> None:
    rounds = [bench.round(0.4) for _ in range(4)]
    whole = bench.left(rounds[-1])
    fingerprint = json.loads((bench.rounds.folder(1) / "snapshot.json").read_bytes())["info"]["fingerprint"]
    bench.run()
    for old in rounds[:2]:
        assert bench.left(old) == {"evaluation.json", "retention.json", "round.json"}
        note = json.loads((bench.rounds.folder(old) / "retention.json").read_bytes())
        assert note["dataset"] == fingerprint
        assert bench.rounds.get(old).state is State.KEPT and bench.rounds.get(old).verdict
    assert [bench.left(new) for new in rounds[2:]] == [whole, whole]


def test_scores_of_a_candidate_go_with_it(bench: Bench) -> None:
    for _ in range(4):
        bench.round(0.4)
    kept = bench.models.path / "scores"
    assert {path.name for path in kept.glob("round*")} == {f"round-0000{n}.json" for n in (1, 2, 3, 4)}
    bench.run()
    assert {path.name for path in kept.glob("round*")} == {"round-00003.json", "round-00004.json"}


def note_of(bench: Bench, snapshot: bytes) -> Any:
    """What retention says of a round with such a snapshot.json."""
    rounds = [bench.round(0.4) for _ in range(3)]
    (bench.rounds.folder(rounds[0]) / "snapshot.json").write_bytes(snapshot)
    bench.run()
    return json.loads((bench.rounds.folder(rounds[0]) / "retention.json").read_bytes())["dataset"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"info": 1}', b'{"info": {}}', b'{"info": {"fing', b"\xff\xfe"]
)
def test_a_damaged_snapshot_goes_all_the_same(bench: Bench, text: bytes) -> None:
    assert note_of(bench, text) is None


def test_of_a_large_snapshot_no_more_is_read_than_its_fingerprint(bench: Bench) -> None:
    large = b'{"info": {"fingerprint": "abc"}, "annotations": [' + b'{"id": 1},' * 400_000 + b"{}]}"
    tracemalloc.start()
    try:
        assert note_of(bench, large) == "abc"
        assert tracemalloc.get_traced_memory()[1] < len(large) / 2
    finally:
        tracemalloc.stop()


def test_an_open_round_and_the_one_that_made_the_champion_keep_all(bench: Bench) -> None:
    best = bench.round(0.9)
    for _ in range(4):
        bench.round(0.4)
    bench.rounds.request(1, "a test")
    open_ = bench.rounds.open_round(1)
    assert open_ is not None
    bench.rounds.folder(open_.id).mkdir()
    (bench.rounds.folder(open_.id) / "last.pth").write_text("half")
    bench.run()
    assert "candidate" in bench.left(best) and bench.left(open_.id) == {"last.pth"}
    assert bench.rounds.get(best).version == bench.models.champion() == "v0001"
    bench.run()
    assert "retention.json" not in bench.left(best)


@pytest.mark.parametrize("done", ["nothing", "the note", "some files", "a folder half"])
def test_a_round_whose_removal_was_killed_goes_with_the_next_run(bench: Bench, done: str) -> None:
    for _ in range(3):
        bench.round(0.4)
    folder = bench.rounds.folder(1)
    if done != "nothing":
        (folder / "retention.json").write_text('{"removed_at": "then", "dataset": "abc"}')
    if done in ("some files", "a folder half"):
        (folder / "snapshot.json").unlink()
    if done == "a folder half":
        (folder / "candidate").rename(folder / ".removing-candidate")
        (folder / ".removing-candidate" / "weights.pth").unlink()
    bench.run()
    assert bench.left(1) == {"evaluation.json", "retention.json", "round.json"}
    if done != "nothing":
        assert json.loads((folder / "retention.json").read_bytes())["dataset"] == "abc"


def test_old_versions_go_but_for_their_cards(bench: Bench) -> None:
    for _ in range(5):
        bench.add()
    bench.run()
    assert bench.models.versions() == ["v0000", "v0004", "v0005"]
    assert bench.models.removed() == ["v0001", "v0002", "v0003"]
    assert bench.models.card("v0002").detector == "yolox_nano"
    assert bench.add() == "v0006", "numbers go on"


def test_the_version_in_service_and_its_parent_stay_however_old(bench: Bench) -> None:
    bench.add()
    bench.add(parent="v0001")
    for _ in range(4):
        bench.add()
    bench.models.promote("v0002")
    bench.run()
    assert bench.models.versions() == ["v0000", "v0001", "v0002", "v0005", "v0006"]


def test_what_an_open_round_is_compared_with_or_trains_from_stays(bench: Bench) -> None:
    for _ in range(5):
        bench.add()
    opened, _ = bench.rounds.request(1, "a test")
    bench.rounds.move(opened.id, State.SNAPSHOTTING, parent="v0002")
    job = {
        "project_id": 1, "detector": "yolox_nano", "why": "", "parent": "v0003", "start": "",
        "start_weights": str(bench.models.folder("v0001") / "weights.pth"), "start_classes": [],
        "iterations": 1, "threads": 1, "accelerator": "cpu",
    }  # fmt: skip
    bench.rounds.folder(opened.id).mkdir()
    (bench.rounds.folder(opened.id) / "job.json").write_text(json.dumps(job))
    bench.run()
    assert bench.models.removed() == []
    bench.rounds.cancel(opened.id)
    bench.rounds.move(opened.id, State.CANCELLED)
    bench.run()
    assert bench.models.removed() == ["v0001", "v0002", "v0003"]


def test_a_damaged_job_of_an_open_round_keeps_no_version_from_going(bench: Bench) -> None:
    """The round itself says what is wrong with it."""
    for _ in range(5):
        bench.add()
    opened, _ = bench.rounds.request(1, "a test")
    bench.rounds.move(opened.id, State.SNAPSHOTTING, parent="v0002")
    bench.rounds.folder(opened.id).mkdir()
    (bench.rounds.folder(opened.id) / "job.json").write_text("{")
    bench.run()
    assert bench.models.removed() == ["v0001", "v0003"]


def test_rolling_back_to_a_removed_version_says_why_not(bench: Bench) -> None:
    for _ in range(4):
        bench.add()
    bench.run()
    for refused in (bench.models.check, bench.models.promote):
        with pytest.raises(
            RegistryError, match=r"v0001.*removed by retention \(KEEP_VERSIONS\).*v0000, v0003"
        ):
            refused("v0001")
    assert bench.models.champion() == "v0004"


@pytest.mark.parametrize("version", ["v0000", "v0002"])
def test_the_registry_refuses_to_remove_what_is_needed(bench: Bench, version: str) -> None:
    bench.add()
    bench.add()
    with pytest.raises(RegistryError, match=version):
        bench.models.remove(version)
    assert bench.models.versions() == ["v0000", "v0001", "v0002"]


def test_a_kill_after_the_rename_leaves_no_version_and_the_next_run_deletes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        bench.add()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bench.run()
    assert (bench.models.path / ".removing-v0001").is_dir()
    assert "v0001" not in bench.models.versions() and bench.models.card("v0001").detector
    bench.run()
    assert not list(bench.models.path.glob(".removing-*"))
    assert bench.models.removed() == ["v0001", "v0002"]


def test_a_damaged_pointer_removes_nothing(bench: Bench) -> None:
    for _ in range(5):
        bench.add()
    (bench.models.path / "champion").write_text("v9999\n")
    with pytest.raises(RegistryError, match="v9999"):
        bench.run()
    assert len(bench.models.versions()) == 6


def predictions(fake: FakeStudio, versions: list[str], tasks: int = 2) -> None:
    """A prediction of each version for each of `tasks` new tasks, a day apart."""
    for task in [fake.add_task() for _ in range(tasks)]:
        for days, version in enumerate(versions):
            made_at = LONG_AGO + timedelta(hours=days)
            fake.predictions.append(
                {
                    "id": len(fake.predictions) + 1,
                    "task": task,
                    "model_version": version,
                    "result": [],
                    "created_at": made_at.isoformat(),
                }
            )


def versions_left(fake: FakeStudio) -> list[str]:
    return sorted({row["model_version"] for row in fake.predictions})


def test_predictions_of_superseded_versions_go(bench: Bench, fake_studio: FakeStudio) -> None:
    predictions(fake_studio, ["v0000", *(bench.add() for _ in range(4)), "somebody's"])
    bench.run(model_version="v0001")
    assert versions_left(fake_studio) == ["somebody's", "v0001", "v0003", "v0004"]


def test_predictions_of_a_removed_version_go_too(bench: Bench, fake_studio: FakeStudio) -> None:
    predictions(fake_studio, ["v0000", *(bench.add() for _ in range(5))])
    bench.retention.prune_versions(1)
    assert "v0001" in bench.models.removed()
    bench.run()
    assert versions_left(fake_studio) == ["v0004", "v0005"]


def test_a_version_of_today_supersedes_none_yet(bench: Bench, fake_studio: FakeStudio) -> None:
    today = [bench.add(age=datetime.now(UTC)) for _ in range(3)]
    predictions(fake_studio, ["v0000", *today])
    bench.run()
    assert versions_left(fake_studio) == ["v0000", *today]


def test_what_an_annotation_started_from_stays(bench: Bench, fake_studio: FakeStudio) -> None:
    versions = ["v0000", *(bench.add() for _ in range(4))]
    bench.retention = Retention(
        bench.settings, bench.studio, bench.registry, bench.rounds, settled_after=timedelta(0)
    )
    predictions(fake_studio, versions, tasks=3)
    named, unnamed, skipped = 1, 2, 3
    begun = (LONG_AGO + timedelta(hours=1, minutes=30)).isoformat()
    annotation = {"id": 1, "created_at": begun, "updated_at": begun, "was_cancelled": False}
    fake_studio.tasks[named]["annotations"] = [{**annotation, "parent_prediction": 1}]
    fake_studio.tasks[unnamed]["annotations"] = [annotation]
    fake_studio.tasks[skipped]["annotations"] = [{**annotation, "was_cancelled": True}]
    bench.run()
    assert fake_studio.versions_of(named) == ["v0000", "v0003", "v0004"]
    assert fake_studio.versions_of(unnamed) == ["v0001", "v0003", "v0004"]
    assert fake_studio.versions_of(skipped) == ["v0003", "v0004"]
    pages = len(fake_studio.pages)
    bench.run()
    assert len(fake_studio.pages) == pages, "what has been looked through is not looked through again"


def test_what_a_draft_may_have_started_from_stays(bench: Bench, fake_studio: FakeStudio) -> None:
    predictions(fake_studio, ["v0000", *(bench.add() for _ in range(4))], tasks=2)
    fake_studio.tasks[1]["drafts"] = [{"id": 1, "result": []}]
    bench.run()
    assert fake_studio.versions_of(1) == ["v0000", "v0001", "v0002", "v0003", "v0004"]
    assert fake_studio.versions_of(2) == ["v0003", "v0004"]


def test_predictions_is_earlier_go_a_day_after_the_change(bench: Bench, fake_studio: FakeStudio) -> None:
    earlier = earlier_name("v0000")
    predictions(fake_studio, [earlier, "v0000"], tasks=4)
    now = datetime.now(UTC)
    for row in fake_studio.predictions:
        recent = row["task"] == 2
        row["updated_at"] = (now - timedelta(hours=1 if recent else 25)).isoformat()
    labelled, drafted = 3, 4
    named = next(row["id"] for row in fake_studio.predictions if row["task"] == labelled)
    fake_studio.tasks[labelled]["annotations"] = [
        {"id": 1, "created_at": now.isoformat(), "parent_prediction": named}
    ]
    fake_studio.tasks[drafted]["drafts"] = [{"id": 1, "result": []}]
    bench.run(model_version="v0000")
    assert fake_studio.versions_of(1) == ["v0000"]
    for kept in (2, labelled, drafted):
        assert fake_studio.versions_of(kept) == [earlier, "v0000"]
    for row in fake_studio.predictions:
        row["updated_at"] = (now - timedelta(hours=25)).isoformat()
    bench.run(model_version="v0000")
    assert fake_studio.versions_of(2) == ["v0000"], "and what was too new is looked at again"


def test_earlier_predictions_that_a_person_chose_to_see_stay(bench: Bench, fake_studio: FakeStudio) -> None:
    earlier = earlier_name("v0000")
    predictions(fake_studio, [earlier, "v0000"], tasks=1)
    for row in fake_studio.predictions:
        row["updated_at"] = LONG_AGO.isoformat()
    bench.run(model_version=earlier)
    assert fake_studio.versions_of(1) == [earlier, "v0000"]
    bench.run(model_version="v0000")
    assert fake_studio.versions_of(1) == ["v0000"]


def test_it_stops_when_told_and_goes_on_later(bench: Bench, fake_studio: FakeStudio) -> None:
    predictions(fake_studio, ["v0000", *(bench.add() for _ in range(3))], tasks=5)
    asked = iter([False, False, True])
    assert bench.retention.prune_predictions(a_project(), lambda: next(asked)) == 2
    assert bench.retention.prune_predictions(a_project()) == 8
    assert versions_left(fake_studio) == ["v0002", "v0003"]


def test_label_studio_down_is_told(bench: Bench, fake_studio: FakeStudio) -> None:
    fake_studio.down = True
    with pytest.raises(StudioError):
        bench.run()


def test_a_round_that_left_no_folder_is_no_trouble(bench: Bench) -> None:
    for _ in range(4):
        opened, _ = bench.rounds.request(1, "a test")
        bench.rounds.move(opened.id, State.FAILED, error="a test")
    bench.run()
    assert not retention.removed(bench.rounds.folder(1))
