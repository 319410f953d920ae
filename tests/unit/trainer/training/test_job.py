"""What a round trains, and from what."""

from pathlib import Path

import pytest
from support.fake_learning import made_snapshot
from support.versions import add_version

from labelloop.registry import ProjectModels
from trainer.env import TrainerSettings
from trainer.training import weights
from trainer.training.job import write_job

CONFIGS = Path(__file__).parents[4] / "configs"


@pytest.mark.parametrize("asked", ["yolox_nano", "auto", "yolox_tiny"])
def test_where_weights_went_away_the_champions_training_goes_on(
    asked: str,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "PUBLISHED", {})
    (tmp_path / "configs").symlink_to(CONFIGS)
    snapshot = made_snapshot()
    trained = add_version(models, tmp_path / "trained")
    models.promote(trained)
    folder = tmp_path / "round"
    folder.mkdir()
    job = write_job(folder, loop_settings.model_copy(update={"detector": asked}), 1, snapshot)
    assert (job.detector, job.parent) == ("yolox_nano", trained)
    assert job.why.startswith(f"the champion {trained} is one; ") and "yolox" in job.why
