"""A worker that finds its files damaged, or no room for them."""

import sqlite3
from pathlib import Path

import pytest
from support.versions import add_version

from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.rounds import heartbeat
from trainer.worker.worker import Worker


@pytest.fixture
def worker(loop_settings: TrainerSettings, studio: Studio, backend: Backend, models: ProjectModels) -> Worker:
    return Worker(loop_settings, studio, backend)


def test_the_champions_files_are_read_again_only_when_they_change(
    worker: Worker, models: ProjectModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = ProjectModels.check
    monkeypatch.setattr(ProjectModels, "check", lambda self, v: (checked.append(v), check(self, v))[1])
    worker.look_around()
    worker.look_around()
    assert checked == ["v0000"]
    (models.path / "champion").write_text("nonsense")
    worker.look_around()
    assert models.champion() == "v0000"


def test_a_damaged_card_of_an_old_version_keeps_no_round_from_its_end(
    models: ProjectModels, tmp_path: Path
) -> None:
    version = add_version(models, tmp_path / "next", round_id=3)
    digest = models.card(version).weights_sha256
    newest = add_version(models, tmp_path / "other")
    (models.folder(newest) / "card.json").write_text("{")
    assert models.of_round(3, "then", digest) == version


def test_no_room_for_a_sign_of_life_is_no_reason_to_die(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(heartbeat, "beat", full)
    worker.beat()
    assert "No space left on device" in caplog.text


def test_the_reason_why_rounds_cannot_be_tended_is_told_and_then_mended(
    worker: Worker, loop_settings: TrainerSettings
) -> None:
    (loop_settings.rounds_dir / "rounds.sqlite3").write_bytes(b"no database" * 1000)
    for suffix in ("-wal", "-shm"):
        (loop_settings.rounds_dir / f"rounds.sqlite3{suffix}").unlink(missing_ok=True)
    with pytest.raises(sqlite3.DatabaseError):
        worker.runner.tend()
    worker.runner.tend()
