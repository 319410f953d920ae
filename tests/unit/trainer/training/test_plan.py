"""What a round trains, and from what."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_learning import made_snapshot
from support.small_rounds import label_config
from support.snapshot_images import image
from support.versions import add_version

from labelloop.registry import ProjectModels
from trainer.dataset.labelled import LabelledImages
from trainer.env import TrainerSettings
from trainer.training import plan, weights
from trainer.training.job import Job
from trainer.training.pace import going_on
from trainer.training.plan import write_job

CONFIGS = Path(__file__).parents[4] / "configs"
SUITABLE = 448
"""The look for the boxes of made_snapshot."""


@pytest.mark.parametrize("asked", ["yolox_nano", "auto", "yolox_tiny"])
def test_where_weights_went_away_the_champions_training_goes_on(
    asked: str,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "PUBLISHED", {})
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    (tmp_path / "configs").symlink_to(CONFIGS)
    snapshot = made_snapshot()
    trained = add_version(models, tmp_path / "trained", round_id=1, look=SUITABLE)
    models.promote(trained)
    folder = tmp_path / "round"
    folder.mkdir()
    job = write_job(folder, loop_settings.model_copy(update={"detector": asked}), 1, snapshot)
    assert (job.detector, job.parent) == ("yolox_nano", trained)
    assert job.why.startswith(f"{trained}, in service, is one; ")
    assert ("changes no project's detector" if asked == "auto" else "yolox") in job.why


def test_auto_changes_the_detector_of_no_project_that_has_versions(
    loop_settings: TrainerSettings, models: ProjectModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stronger one would fit here, or on the machine to which the project has moved."""
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_s", "it fits"))
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    (tmp_path / "configs").symlink_to(CONFIGS)
    models.promote(add_version(models, tmp_path / "start", None))
    folder = tmp_path / "round"
    folder.mkdir()
    settings = loop_settings.model_copy(update={"detector": "auto", "accelerator": "cuda"})
    job = write_job(folder, settings, 1, made_snapshot())
    assert job.detector == "yolox_nano" and "changes no project's detector" in job.why


def test_auto_takes_another_detector_for_the_fallback(
    loop_settings: TrainerSettings, models: ProjectModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has put weights into the cache, as `make doctor` says."""
    found = weights.StartingWeights({}, [], "80 classes of a test")
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test", found))
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    (tmp_path / "configs").symlink_to(CONFIGS)
    start = add_version(models, tmp_path / "start", None)
    card = models.folder(start) / "card.json"
    card.write_text(card.read_text().replace("yolox_nano", weights.FALLBACK))
    models.promote(start)
    folder = tmp_path / "round"
    folder.mkdir()
    settings = loop_settings.model_copy(update={"detector": "auto"})
    assert write_job(folder, settings, 1, made_snapshot()).detector == "yolox_nano"


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
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    version = add_version(models, tmp_path / "made", round_id, look=SUITABLE)
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


@pytest.mark.parametrize(
    ("published", "seen", "pace"),
    [
        ('"car", "dog"', 3, 1.0),
        ('"ball", "dog"', 3, 1.0),
        ('"car", "dog"', 9, 0.2),
        ('"car", "dog"', 10, 0.1),
        ('"ball", "crate"', 3, 0.1),
    ],
    ids=["few seen", "one label known", "most seen", "all seen", "published weights know the labels"],
)
def test_a_version_goes_on_at_the_pace_of_what_it_has_seen(
    published: str,
    seen: int,
    pace: float,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of ten images on which the round trains."""
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    card = models.folder("v0000") / "card.json"
    told = json.loads(card.read_bytes()) | {"classes": json.loads(f"[{published}]")}
    card.write_text(json.dumps(told))
    version = add_version(models, tmp_path / "made", round_id=1, look=352, images=seen)
    models.promote(version)
    folder = tmp_path / "round"
    folder.mkdir()
    of_ten = replace(made_snapshot(), images=LabelledImages(image(number) for number in range(10)))
    job = write_job(folder, loop_settings, 1, of_ten)
    assert (job.parent, job.pace) == (version, pace)
    assert Job.load(folder) == job


@pytest.mark.parametrize(
    ("begun", "detector", "labels", "pace"),
    [
        ("yolox_mobilenetv2", "yolox_nano", ("cat", "dog"), 0.1),
        ("yolox_mobilenetv2", "yolox_nano", ("cat", "ball"), 1.0),
        ("yolox_nano", "yolox_mobilenetv2", ("cat", "dog"), 1.0),
    ],
    ids=["to published weights", "which don't know a label", "to none"],
)
def test_after_a_change_of_detector_its_own_starting_weights_decide_the_pace(
    begun: str,
    detector: str,
    labels: tuple[str, str],
    pace: float,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """v0000 is of another detector than the version whose training goes on, on a third of the images."""
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice(detector, "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    version = add_version(models, tmp_path / "made", round_id=1, look=352, images=3)
    start = {"detector": begun, "classes": [] if begun == weights.FALLBACK else weights.coco_classes()}
    for name, told in (("v0000", start), (version, {"detector": detector, "classes": labels})):
        card = models.folder(name) / "card.json"
        card.write_text(json.dumps(json.loads(card.read_bytes()) | told))
    models.promote(version)
    folder = tmp_path / "round"
    folder.mkdir()
    snapshot = replace(
        made_snapshot(),
        images=LabelledImages(image(number) for number in range(10)),
        label_config_xml=label_config(labels),
    )
    job = write_job(folder, loop_settings, 1, snapshot)
    assert (job.detector, job.parent, job.pace) == (detector, version, pace)


def test_the_pace_falls_with_what_was_seen() -> None:
    assert [going_on(seen, 100) for seen in (0, 50, 51, 75, 95, 100, 200)] == [1, 1, 0.98, 0.5, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("width", "object_px", "look", "words"),
    [
        (4000, 40, 448, "3 of 3 boxes are less than 8 px a side to the network, which sees an image at 448 "
                        "px (the median box is 4.5 px)"),
        (4000, 400, 352, None),
        (640, 40, 448, None),
    ],
)  # fmt: skip
def test_objects_that_are_small_to_the_network_are_told(
    width: int,
    object_px: int,
    look: int,
    words: str | None,
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    monkeypatch.setattr(plan, "usable_gb", lambda: 64.0)
    folder = tmp_path / "round"
    folder.mkdir()
    box = (10.0, 10.0, 10.0 + object_px, 10.0 + object_px)
    images = LabelledImages([replace(image(1), width=width, height=3 * width // 4, xyxy=(box,) * 3)])
    job = write_job(folder, loop_settings, 1, replace(made_snapshot(), images=images))
    assert job.small_objects is not None and (job.small_objects.look, job.small_objects.boxes) == (look, 3)
    told = [record.getMessage() for record in caplog.records if "to the network" in record.getMessage()]
    assert [line[: len(words or "")] for line in told] == ([words] if words else [])
    assert Job.load(folder).small_objects == job.small_objects


def test_a_job_of_an_earlier_release_says_nothing_of_small_objects_nor_of_a_pace(
    loop_settings: TrainerSettings,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "choose", lambda settings: weights.Choice("yolox_nano", "a test"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    folder = tmp_path / "round"
    folder.mkdir()
    write_job(folder, loop_settings, 1, made_snapshot())
    old = json.loads((folder / "job.json").read_bytes())
    del old["small_objects"], old["pace"]
    (folder / "job.json").write_text(json.dumps(old))
    kept = Job.load(folder)
    assert kept.small_objects is None and kept.pace is None
