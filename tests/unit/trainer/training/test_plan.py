"""What a round trains, and from what."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_learning import made_snapshot
from support.versions import add_version

from labelloop.registry import ProjectModels
from trainer.env import TrainerSettings
from trainer.training import weights
from trainer.training.plan import write_job

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
    trained = add_version(models, tmp_path / "trained", round_id=1)
    models.promote(trained)
    folder = tmp_path / "round"
    folder.mkdir()
    job = write_job(folder, loop_settings.model_copy(update={"detector": asked}), 1, snapshot)
    assert (job.detector, job.parent) == ("yolox_nano", trained)
    assert job.why.startswith(f"the champion {trained} is one; ") and "yolox" in job.why


@pytest.mark.parametrize(
    ("labels", "goes_on"),
    [
        (("ball", "crate"), True),
        (("crate", "ball"), True),
        (("Ball", "crate"), True),
        (("ball", "crate", "box"), False),
        (("ball",), False),
        (("ball", "box"), False),
    ],
    ids=["same", "reordered", "another case", "added", "removed", "renamed"],
)
@pytest.mark.parametrize("round_id", [1, None], ids=["trained", "starting model"])
def test_training_goes_on_from_a_trained_version_of_the_same_labels_alone(
    labels: tuple[str, ...],
    goes_on: bool,
    round_id: int | None,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A starting model's classes may be called as the labels are; they are other makers' all the same."""
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    version = add_version(models, tmp_path / "made", round_id)
    models.promote(version)
    folder = tmp_path / "round"
    folder.mkdir()
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    xml = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{tags}</RectangleLabels></View>'
    )
    job = write_job(folder, loop_settings, 1, replace(made_snapshot(), label_config_xml=xml))
    assert job.parent == (version if goes_on and round_id else None)
