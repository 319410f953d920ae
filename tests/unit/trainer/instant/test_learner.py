"""Learning at once, with real training of a small detector on made images."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.killed import Killed
from support.learning_at_once import LABELS, Labelled, new, project, region_of, starting
from support.small_rounds import SmallRounds, label_config

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import read_image
from labelloop.instant import HEAD, InstantVersions, champion_of
from labelloop.raw_boxes import RawBoxes
from labelloop.registry import ProjectModels, Registry
from trainer.dataset.labelled import SnapshotImage
from trainer.instant import learner as module
from trainer.instant.errors import CannotLearn
from trainer.instant.evidence import Pair
from trainer.instant.learner import Learner
from trainer.instant.notes import Notes
from trainer.instant.proposing import Proposals
from trainer.peers.projects import MLBackend


def test_the_first_submitted_image_is_learnt_and_serves(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds
) -> None:
    assert learner.learn(project()) is None
    studio.submit(1)
    assert learner.learn(project()) == models.serving() == "i0000.0001"
    card = models.card("i0000.0001")
    assert (card.classes, card.images, card.trained, card.parent) == (LABELS, 1, True, "v0000")
    assert card.mirrored, "as v0000 is"
    detector = Detector.load(models.folder("i0000.0001"), "cpu")
    assert detector.classes == tuple(LABELS)
    assert len(detector.predict([read_image(home.settings.images_dir / "1.png")])) == 1


def test_only_what_is_new_is_learnt(learner: Learner, studio: Labelled, models: ProjectModels) -> None:
    studio.submit(1)
    learner.learn(project())
    assert learner.learn(project()) is None
    studio.submit(2)
    assert learner.learn(project()) == "i0000.0002"
    studio.submit(1)  # corrected
    assert learner.learn(project()) == "i0000.0003"
    assert sorted(Notes.of(models.card("i0000.0003")).learnt) == [1, 2]


def test_what_it_has_seen_is_no_evidence(learner: Learner, studio: Labelled, models: ProjectModels) -> None:
    for number in (1, 2, 1):
        studio.submit(number)
        learner.learn(project())
    pairs = Notes.of(models.card("i0000.0003")).pairs
    assert [(pair.task, pair.version) for pair in pairs] == [(2, "i0000.0001")]


def test_what_a_round_may_have_been_taught_is_no_evidence_when_it_is_corrected(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    """As of label errors: the version in service knows the image from training, and is surer there."""
    studio.submit(1)
    learner.learn(project())
    made = models.card("v0000").created_at
    studio.submit(2, first=made - timedelta(minutes=5))
    studio.submit(3, first=made + timedelta(milliseconds=1))
    assert learner.learn(project()) == "i0000.0002"
    assert [pair.task for pair in Notes.of(models.card("i0000.0002")).pairs] == [3]
    assert models.card("i0000.0002").images == 3, "it is learnt from all the same"


def test_it_counts_what_clicks_would_fetch_on_new_images(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    """A click on each object, by which sizes the other images have; a card of an earlier release has none."""
    for number in (1, 2):
        studio.submit(number)
        learner.learn(project())
    card = models.card("i0000.0002")
    (pair,) = Notes.of(card).pairs
    assert pair.clicks == card.boxes - models.card("i0000.0001").boxes
    assert 0 <= pair.clicks_right <= pair.clicks
    assert Pair.model_validate({"task": 1, "version": "i0000.0001", "instant": 1, "champion": 2}).clicks == 0


def test_a_later_process_goes_on(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds
) -> None:
    for number in (1, 2):
        studio.submit(number)
        learner.learn(project())
    later = new(home, studio, models)
    assert later.learn(project()) is None
    studio.submit(3)
    assert later.learn(project()) == "i0000.0003"
    assert models.card("i0000.0003").images == 3
    assert [pair.task for pair in Notes.of(models.card("i0000.0003")).pairs] == [2, 3]


@pytest.mark.parametrize("damaged, goes_on", [("i0000.0001", True), ("i0000.0002", False)])
def test_a_later_process_reads_the_newest_card_alone(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, damaged: str, goes_on: bool
) -> None:
    """There may be thousands. A damaged one is no reason to stop: it begins anew."""
    for number in (1, 2):
        studio.submit(number)
        learner.learn(project())
    (models.instant.folder(damaged) / "card.json").write_text("{")
    studio.submit(3)
    assert new(home, studio, models).learn(project()) == "i0000.0003"
    assert models.card("i0000.0003").start_weights == ("i0000.0002" if goes_on else "v0000")


def test_killed_before_its_version_is_whole(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    home: SmallRounds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio.submit(1)
    learner.learn(project())
    studio.submit(2)

    def killed(*arguments: object) -> None:
        raise Killed

    for method in ("write", "serve"):
        with monkeypatch.context() as patch:
            patch.setattr(InstantVersions, method, killed)
            with pytest.raises(Killed):
                new(home, studio, models).learn(project())
        assert models.serving() == "i0000.0001"
    studio.submit(3)
    assert new(home, studio, models).learn(project()) == models.serving() == "i0000.0003"


def test_proposals_that_cost_people_time_are_not_shown(
    learner: Learner, studio: Labelled, models: ProjectModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = iter([30.0, 20.0, 3.0, 20.0])  # of the instant version and of the champion, image by image
    monkeypatch.setattr(module, "proposals", lambda *parts: Proposals(Boxes.empty(), next(costs)))
    studio.submit(1)
    learner.learn(project())
    studio.submit(2)
    assert learner.learn(project()) == "i0000.0002"
    assert models.serving() == "v0000"
    studio.submit(3)
    assert learner.learn(project()) == models.serving() == "i0000.0003"


@pytest.mark.parametrize("right", [True, False])
def test_what_finds_wrong_boxes_alone_proposes_none_and_answers_clicks(
    learner: Learner, studio: Labelled, models: ProjectModels, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    def found(detector: object, pixels: object, image: SnapshotImage, *rest: object) -> Proposals:
        count = len(image.labels)
        boxes = image.xyxy if right else [(0.0, 0.0, 9.0, 9.0)] * 9 * count
        scores = [0.9] * len(boxes)
        return Proposals(Boxes.of(boxes, scores, [*image.labels] * (1 if right else 9)), 20.0)

    monkeypatch.setattr(module, "proposals", found)
    for number in (1, 2):
        studio.submit(number)
        learner.learn(project())
    assert models.serving() == "i0000.0002", "its eyes answer clicks as well as the champion's"
    thresholds = models.card("i0000.0002").score_thresholds
    if right:
        assert all(value <= 0.5 for value in thresholds.values())
    else:
        assert thresholds == dict.fromkeys(LABELS, 1.0)


@pytest.mark.parametrize("off_in", ["the label config", "Label Studio's settings"])
def test_where_clicks_fetch_nothing_none_is_tried(
    learner: Learner, studio: Labelled, models: ProjectModels, monkeypatch: pytest.MonkeyPatch, off_in: str
) -> None:
    chances: list[float] = []

    def costs(*parts: Any) -> Proposals:
        chances.append(parts[5])
        return Proposals(Boxes.empty(), 20.0)

    monkeypatch.setattr(module, "proposals", costs)
    xml = label_config(LABELS).replace("<RectangleLabels", '<RectangleLabels smart="false"')
    drawn = replace(project(), backends=(MLBackend("http://ours", "labelloop", interactive=False),))
    if off_in == "the label config":
        drawn = replace(project(), label_config=xml)
    for number in (1, 2):
        studio.submit(number)
        learner.learn(drawn)
    assert chances == [0.0, 0.0], "of the instant version and of the champion"
    card = models.card("i0000.0002")
    assert card.instant["pairs"][0]["clicks"] == 0
    assert "correcting its boxes and drawing what they miss would have taken 20 s" in card.reason


def test_whose_clicks_fetch_more_is_told_from_new_images(
    learner: Learner, studio: Labelled, models: ProjectModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither proposes a box; the champion's clicks fetch all, and those of what was learnt none."""

    def tried(detector: Detector, *rest: object) -> tuple[int, int]:
        return 12, 12 if detector.version == "v0000" else 0

    monkeypatch.setattr(module, "clicked", tried)
    nothing = Boxes.empty(), RawBoxes.of_boxes(Boxes.empty(), 1)
    monkeypatch.setattr(Detector, "both", lambda self, image: nothing)
    for number in (1, 2):
        studio.submit(number)
        learner.learn(project())
    (pair,) = Notes.of(models.card("i0000.0002")).pairs
    assert (pair.clicks, pair.clicks_right, pair.champion_clicks_right) == (12, 0, 12)
    assert pair.champion < pair.instant and models.serving() == "v0000"


def test_a_champion_that_knows_the_labels_gives_way_to_evidence_alone(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, tmp_path: Path
) -> None:
    starting(home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's")
    studio.submit(1)
    assert learner.learn(project()) == "i0001.0001"
    assert models.serving() == "v0001"


def test_a_promoted_round_is_learnt_upon_anew(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, tmp_path: Path
) -> None:
    studio.submit(1)
    learner.learn(project())
    starting(home, tmp_path, models)
    assert models.serving() == "v0001"
    assert learner.learn(project()) == models.serving() == "i0001.0001"


def test_learning_goes_on_upon_a_champion_that_came_back(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    home: SmallRounds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.instant.learner.is_better", lambda *evidence: False)
    studio.submit(1)
    learner.learn(project())
    starting(home, tmp_path, models)
    for number in (2, 3):
        studio.submit(number)
        assert learner.learn(project()) == f"i0001.{number - 1:04}"
    models.promote("v0000")
    for number in (4, 5, 6):
        studio.submit(number)
        version = learner.learn(project())
        assert version is not None and champion_of(version) == "v0000"
        assert (models.instant.folder(version) / HEAD).is_file(), "the next one is compared with it"


def test_other_labels_are_learnt_anew(learner: Learner, studio: Labelled, models: ProjectModels) -> None:
    studio.submit(1)
    learner.learn(project())
    more = [*LABELS, "cone"]
    assert learner.learn(project(more)) == "i0000.0002"
    assert models.card("i0000.0002").classes == more


def test_images_without_a_box_alone_teach_nothing(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    studio.submit(1, shapes=False)
    assert learner.learn(project()) is None
    studio.submit(2)
    assert learner.learn(project()) == "i0000.0001"
    assert models.card("i0000.0001").images == 2


def test_labels_of_yesterday_start_nothing(learner: Learner, studio: Labelled) -> None:
    studio.submit(1, minutes_ago=24 * 60)
    assert learner.learn(project()) is None


def test_superseded_versions_keep_their_cards(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    for number in range(1, 5):
        studio.submit(number)
        learner.learn(project())
    kept = [(models.instant.folder(version) / HEAD).is_file() for version in models.instant.ever()]
    assert kept == [False, False, True, True]


def test_a_detector_with_another_head_says_so(tmp_path: Path, studio: Labelled) -> None:
    other = SmallRounds.below(tmp_path / "home", "fcos")
    models = starting(other, tmp_path, Registry(tmp_path / "models").project(1))
    studio.submit(1)
    with pytest.raises(CannotLearn, match="fcos has no head that can be learnt at once"):
        new(other, studio, models).learn(project())


@pytest.mark.parametrize("elsewhere", ["a label is renamed", "nothing"])
def test_what_was_learnt_under_former_names_does_not_serve(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: str,
) -> None:
    """Renaming puts the champion itself into service anew (trainer.worker.renaming), under the new names."""
    write = InstantVersions.write

    def written(versions: InstantVersions, champion: str, *more: Any) -> str:
        if elsewhere != "nothing":
            models.promote(champion)
        return write(versions, champion, *more)

    monkeypatch.setattr(InstantVersions, "write", written)
    studio.submit(1)
    assert learner.learn(project()) == "i0000.0001"
    assert models.serving() == ("i0000.0001" if elsewhere == "nothing" else "v0000")


def test_verified_images_are_learnt_from_and_are_no_evidence(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    """Their boxes are the champion's, which would win on each of them."""
    studio.submit(1)
    learner.learn(project())
    studio.submit(2, verified=True)
    studio.submit(3)
    assert learner.learn(project()) == "i0000.0002"
    notes = Notes.of(models.card("i0000.0002"))
    assert sorted(notes.learnt) == [1, 2, 3] and [pair.task for pair in notes.pairs] == [3]


def test_an_image_that_no_network_takes_keeps_no_other_from_being_learnt(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds
) -> None:
    """The process would end at it, and again after each submit."""
    studio.submit(1)
    learner.learn(project())
    studio.submit(2)
    strip = (3000, 2)
    Image.new("RGB", strip).save(home.settings.images_dir / "2.png")
    studio.tasks[-1]["annotations"][0]["result"] = [region_of((0, 0, 20, 2, 0), strip)]
    studio.submit(3)
    assert learner.learn(project()) == models.serving() == "i0000.0002"
    assert models.card("i0000.0002").images == 2
    assert learner.learn(project()) is None
