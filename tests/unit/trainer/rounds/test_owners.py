"""Models and rounds of projects that are gone: what stays, what goes, and what a number given again gets."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import clocks
from support.fake_studio import FakeStudio
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.health import doctor
from trainer.health.status import gather
from trainer.peers.backend import Backend
from trainer.rounds import owners
from trainer.rounds.claims import claim
from trainer.rounds.owners import NUMBER_GIVEN_AGAIN
from trainer.rounds.table import Rounds, State
from trainer.worker.retention import GONE_FOR

FIRST, SECOND = "2026-11-22T18:02:05.237603Z", "2026-11-24T09:30:00.500000Z"
ASIDE = "1.of-20261122-180205"


@pytest.fixture
def trained(bench: WorkerBench, models: ProjectModels, tmp_path: Path) -> WorkerBench:
    """Project 1, looked at once, with a version of its own in service and a closed round."""
    models.promote(add_version(models, tmp_path / "made"))
    (models.path / "split.json").write_text("its sides")
    (models.path / "seen" / "v0001.1").mkdir(parents=True)
    round_, _ = bench.rounds.request(1, "a test")
    claim(bench.rounds, round_)
    (bench.rounds.folder(round_.id) / "last.pth").write_text("much")
    bench.rounds.move(round_.id, State.FAILED, error="a test", labelled=200)
    bench.worker.look_around()
    return bench


def give_the_number_again(fake: FakeStudio, created_at: str = SECOND) -> None:
    """As after a restore of Label Studio's database alone: project 1 is another one."""
    fake.projects[1] = {**fake.projects[1], "title": "another", "created_at": created_at}


def test_a_project_that_got_a_former_ones_number_starts_from_nothing(
    trained: WorkerBench, fake_studio: FakeStudio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    assert trained.models.champion() is None
    assert trained.children[-1].arguments == ["trainer.training.starting", "1"]
    assert trained.rounds.history(1) == [], "and its first round is due as that of any project"
    aside = ProjectModels(trained.settings.models_dir / ASIDE)
    assert aside.versions() == ["v0000", "v0001"] and aside.champion() == "v0001"
    assert (aside.path / "split.json").read_text() == "its sides"
    assert f"the one (project 1) whose models {trained.models.path} held" in caplog.text
    trained.models.promote(add_version(trained.models, tmp_path / "next"))
    trained.worker.look_around()
    assert json.loads((trained.models.path / "project.json").read_bytes())["title"] == "another"


def test_a_project_that_comes_back_has_its_models(
    trained: WorkerBench, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    trained.models.promote(add_version(trained.models, tmp_path / "next"))
    trained.worker.look_around()
    give_the_number_again(fake_studio, FIRST.replace(".237603", ""))
    trained.worker.look_around()
    assert trained.models.champion() == "v0001"
    assert [path.name for path in trained.settings.models_dir.glob("*.of-*")] == ["1.of-20261124-093000"]


def test_a_new_title_changes_nothing(trained: WorkerBench, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1]["title"] = "renamed"
    trained.worker.look_around()
    assert trained.models.champion() == "v0001"
    assert json.loads((trained.models.path / "project.json").read_bytes())["title"] == "renamed"


def test_models_of_an_earlier_release_are_the_projects_that_has_the_number(
    trained: WorkerBench, fake_studio: FakeStudio
) -> None:
    (trained.models.path / "project.json").unlink()
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    assert trained.models.champion() == "v0001"


def test_a_running_round_of_the_former_project_ends_first(
    trained: WorkerBench, fake_studio: FakeStudio
) -> None:
    child = trained.begin_round()
    running = trained.rounds.open_round(1)
    assert running is not None
    trained.rounds.move(running.id, State.SNAPSHOTTING)
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    assert trained.rounds.cancel_requested(running.id)
    assert trained.models.champion() == "v0001", "nothing is moved below it"
    trained.end(child, 75)
    trained.worker.look_around()
    assert trained.models.champion() is None
    assert (trained.settings.models_dir / ASIDE).is_dir()


def test_a_round_of_the_former_project_that_has_not_begun_is_cancelled(
    trained: WorkerBench, fake_studio: FakeStudio
) -> None:
    waiting, _ = trained.rounds.request(1, "a test")
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    cancelled = trained.rounds.get(waiting.id)
    assert (cancelled.state, cancelled.verdict) == (State.CANCELLED, NUMBER_GIVEN_AGAIN)
    assert trained.models.champion() is None


def test_models_of_a_deleted_project_stay_and_are_named(
    trained: WorkerBench, fake_studio: FakeStudio, studio: Studio, backend: Backend
) -> None:
    fake_studio.add_project(2)
    assert gather(trained.settings, studio, backend).left_over == []
    del fake_studio.projects[1]
    trained.worker.look_around()
    since = json.loads((trained.models.path / "project.json").read_bytes())["missing_since"]
    trained.worker.look_around()
    [left] = gather(trained.settings, studio, backend).left_over
    assert left.told.startswith("volumes/models/1 of 'project 1', 0.0 MB, gone since 20")
    assert json.loads((trained.models.path / "project.json").read_bytes())["missing_since"] == since
    [named] = [found for found in doctor.examine(trained.settings, studio, backend) if "models" in found.name]
    assert named.command == "rm -r volumes/models/1" and "restored" in named.fix
    assert trained.models.champion() == "v0001"
    fake_studio.add_project(1)
    trained.worker.look_around()
    assert gather(trained.settings, studio, backend).left_over == []


def test_while_label_studio_is_down_nothing_is_said_to_be_gone(
    trained: WorkerBench, fake_studio: FakeStudio, studio: Studio, backend: Backend
) -> None:
    fake_studio.down = True
    trained.worker.look.run_if_due()
    assert gather(trained.settings, studio, backend).left_over == []
    assert json.loads((trained.models.path / "project.json").read_bytes())["missing_since"] is None


def long_ago(rounds: Rounds, round_id: int) -> None:
    rounds.record(round_id, finished_at=(datetime.now(UTC) - GONE_FOR - timedelta(hours=1)).isoformat())


def data_of(bench: WorkerBench) -> bool:
    return (bench.rounds.folder(1) / "last.pth").exists()


def missing_for(models: ProjectModels, gone_for: timedelta) -> None:
    since = {"title": "x", "missing_since": (datetime.now(UTC) - gone_for).isoformat()}
    (models.path / "project.json").write_text(json.dumps(since))


@pytest.mark.parametrize(("hours_more", "goes"), [(1, True), (-1, False)])
def test_the_rounds_of_a_deleted_project_lose_their_data_after_a_week(
    trained: WorkerBench, fake_studio: FakeStudio, hours_more: int, goes: bool
) -> None:
    fake_studio.add_project(2)
    long_ago(trained.rounds, 1)
    trained.worker.retain()
    assert data_of(trained), "a project that is there keeps KEEP_ROUNDS"
    del fake_studio.projects[1]
    trained.worker.look_around()
    missing_for(trained.models, GONE_FOR + timedelta(hours=hours_more))
    trained.worker.retain()
    assert data_of(trained) is not goes
    assert (trained.models.path / "seen").exists() is not goes
    assert trained.models.versions() == ["v0000", "v0001"]


@pytest.mark.parametrize(("hours_more", "goes"), [(1, True), (-1, False)])
def test_a_model_that_was_never_trained_goes_a_week_after_its_project_and_comes_back_with_it(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, hours_more: int, goes: bool
) -> None:
    (models.path / "split.json").write_text("its sides")
    fake_studio.add_project(2)
    bench.worker.look_around()
    project = fake_studio.projects.pop(1)
    bench.worker.look_around()
    missing_for(models, GONE_FOR + timedelta(hours=hours_more))
    bench.worker.retain()
    assert models.versions() == ([] if goes else ["v0000"])
    assert (models.champion() is None) is goes
    assert (models.path / "split.json").read_text() == "its sides"
    assert [path.name for path in models.path.glob(".*")] == ([] if goes else [".champion"])
    [child] = bench.children
    child.exit = 0
    fake_studio.projects[1] = project
    bench.worker.look_around()
    [begun] = bench.children[1:]
    assert begun.arguments == ["trainer.training.starting", "1" if goes else "2"]


def test_a_kill_while_such_a_model_goes_is_made_good_by_the_next_look(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_studio.add_project(2)
    del fake_studio.projects[1]
    bench.worker.look_around()
    missing_for(models, GONE_FOR + timedelta(hours=1))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bench.worker.retain()
    assert models.versions() == []
    bench.worker.retain()
    assert sorted(path.name for path in models.path.iterdir()) == ["project.json"]


def test_one_that_was_moved_aside_goes_a_week_after_that(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.worker.look_around()
    give_the_number_again(fake_studio)
    bench.worker.look_around()
    aside = ProjectModels(bench.settings.models_dir / ASIDE)
    bench.worker.retain()
    assert aside.versions() == ["v0000"]
    monkeypatch.setattr("trainer.worker.retention.GONE_FOR", timedelta(0))
    bench.worker.retain()
    assert aside.versions() == []


def test_and_those_of_one_whose_number_was_given_again(trained: WorkerBench, fake_studio: FakeStudio) -> None:
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    trained.worker.retain()
    assert data_of(trained)
    long_ago(trained.rounds, 1)
    trained.worker.retain()
    assert not data_of(trained)
    assert trained.rounds.get(1).project == -1


def test_a_folder_that_was_moved_aside_loses_its_data_after_a_week(trained: WorkerBench) -> None:
    round_, _ = trained.rounds.request(1, "a test")
    folder = trained.rounds.folder(round_.id)
    folder.mkdir()
    (folder / "last.pth").write_text("another's")
    os.utime(folder, (0, 0))
    claim(trained.rounds, round_)
    trained.worker.retain()
    [aside] = trained.settings.rounds_dir.glob("00002.of-another-round-*")
    assert (aside / "last.pth").exists(), "a week from when it was moved"
    os.utime(aside, (0, 0))
    trained.worker.retain()
    assert [path.name for path in aside.iterdir()] == ["retention.json"]


def test_rounds_of_a_project_that_is_gone_count_when_a_lost_table_numbers_on(
    trained: WorkerBench, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    add_version(trained.models, tmp_path / "next", round_id=41)
    give_the_number_again(fake_studio)
    trained.worker.look_around()
    assert Registry(trained.settings.models_dir).newest_round() == 41


def test_a_registry_with_models_moved_aside_lists_them_under_no_number(trained: WorkerBench) -> None:
    (trained.settings.models_dir / ASIDE).mkdir()
    assert Registry(trained.settings.models_dir).projects() == [1]


def test_a_project_that_was_missed_in_the_future_is_missed_from_now_on(
    trained: WorkerBench, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was ahead then; what a week takes would take years."""
    del fake_studio.projects[1]
    with monkeypatch.context() as meanwhile:
        clocks.set_ahead(meanwhile, owners)
        trained.worker.look_around()
    trained.worker.look_around()
    owner = owners.read(trained.models.path)
    assert owner is not None and owner.missing_since is not None
    assert datetime.now(UTC) - timedelta(minutes=5) < owner.missing_since <= datetime.now(UTC)
