"""The champion's own boxes, by thresholds that the newest labels have moved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.killed import Killed
from support.learning_at_once import LABELS, Labelled, new, project, starting
from support.small_rounds import SmallRounds

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import read_image
from labelloop.instant import HEAD
from labelloop.registry import ProjectModels
from trainer.dataset.labelled import SnapshotImage
from trainer.instant import learner as module
from trainer.instant.learner import Learner
from trainer.instant.notes import Notes
from trainer.instant.proposing import Proposals


@pytest.fixture
def all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object is found, with a score of 0.1, by whichever version; nothing else is."""

    def found(detector: object, pixels: object, image: SnapshotImage, *rest: object) -> Proposals:
        boxes = Boxes.of(image.xyxy, [0.1] * len(image.labels), image.labels)
        return Proposals(boxes, 20.0)

    monkeypatch.setattr(module, "proposals", found)


def learnt(learner: Learner, studio: Labelled, *numbers: int, shown: str = "v0001") -> None:
    """shown: the version whose boxes the project's pages show."""
    for number in numbers:
        studio.submit(number)
        learner.learn(replace(project(), model_version=shown))


@pytest.mark.usefixtures("all_are_found")
@pytest.mark.parametrize("trained", [True, False])
def test_a_version_that_stays_shows_what_it_had_been_too_unsure_of(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    home: SmallRounds,
    tmp_path: Path,
    trained: bool,
) -> None:
    """It has 0.3 for each label, as a starting model has; its right boxes have 0.1."""
    starting(
        home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's" if trained else None, look=96
    )
    learnt(learner, studio, 1)
    assert models.serving() == "v0001", "there is no image yet that both have not seen"
    learnt(learner, studio, 2)
    assert models.serving() == "i0001.0002"
    champion, card = models.card("v0001"), models.card("i0001.0002")
    same = ("classes", "trained", "look", "boxes", "images", "detector")
    assert [getattr(card, name) for name in same] == [getattr(champion, name) for name in same]
    assert card.score_thresholds.keys() == {*LABELS}
    assert 0.1 < min(card.score_thresholds.values()) < 0.3
    assert card.reason == "v0001's own boxes, by thresholds that 1 image labelled since have moved"
    pixels = [read_image(home.settings.images_dir / "1.png")]
    (its,), (own,) = (Detector.load(models.folder(v), "cpu").predict(pixels) for v in (card.version, "v0001"))
    assert np.allclose(its.xyxy, own.xyxy, atol=0.5) and np.allclose(its.scores, own.scores, atol=0.01)


@pytest.mark.usefixtures("all_are_found")
def test_they_follow_each_image_and_a_later_process_goes_on(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, tmp_path: Path
) -> None:
    starting(home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's")
    learnt(learner, studio, 1, 2, 3)
    assert models.serving() == "i0001.0004"
    after_one, after_two = (models.card(f"i0001.000{n}").score_thresholds for n in (2, 4))
    assert 0.1 < min(after_two.values()) < min(after_one.values()) < 0.3
    newest = Notes.of(models.card("i0001.0005"))
    assert newest.refitted == after_two and sorted(newest.learnt) == [1, 2, 3]
    learnt(new(home, studio, models), studio, 4)
    assert models.serving() == "i0001.0006"
    assert sum(models.card("i0001.0006").score_thresholds.values()) < sum(after_two.values())
    assert (models.instant.folder("i0001.0006") / HEAD).is_file()


@pytest.mark.usefixtures("all_are_found")
def test_a_version_serves_itself_until_all_images_have_its_boxes(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, tmp_path: Path
) -> None:
    """An instant version in its place would end that: it looks only at the few tasks that people get next."""
    starting(home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's")
    learnt(learner, studio, 1, 2, shown="i0000.0007")
    learnt(learner, studio, 3, shown="v0000")
    assert models.serving() == "v0001" and len(models.instant.ever()) == 3
    learnt(learner, studio, 4, shown="v0001")
    assert models.card(str(models.serving())).refitted
    assert (
        Notes.of(models.card(models.instant.ever()[-1])).refitted
        == models.card(str(models.serving())).score_thresholds
    ), "those of all images since, shown or not"
    before = models.serving()
    learnt(learner, studio, 5, shown=str(before))
    assert models.serving() not in (before, "v0001")


@pytest.mark.usefixtures("all_are_found")
def test_killed_between_the_two_versions_it_goes_on_with_what_was_learnt(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    home: SmallRounds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The champion has the labels in another order, so its own head would be a wrong one to go on from."""
    starting(home, tmp_path, models, classes=LABELS[::-1], dataset_fingerprint="a round's")
    learnt(learner, studio, 1)

    def killed(*arguments: object, **more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "trained", killed)
        learnt(learner, studio, 2)
    assert models.instant.ever() == ["i0001.0001", "i0001.0002"] and models.serving() == "v0001"
    learnt(new(home, studio, models), studio, 3)
    assert models.card(models.instant.ever()[-1]).start_weights == "i0001.0001"
    assert models.card(str(models.serving())).refitted


@pytest.mark.usefixtures("all_are_found")
def test_a_version_that_knows_no_label_has_no_boxes_of_its_own(
    learner: Learner, studio: Labelled, models: ProjectModels
) -> None:
    learnt(learner, studio, 1, 2)
    assert models.instant.ever() == ["i0000.0001", "i0000.0002"]
    assert Notes.of(models.card("i0000.0002")).refitted == {}


def test_where_the_thresholds_hold_the_version_serves_itself(
    learner: Learner,
    studio: Labelled,
    models: ProjectModels,
    home: SmallRounds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "proposals", lambda *parts: Proposals(Boxes.empty(), 20.0))
    starting(home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's")
    learnt(learner, studio, 1, 2)
    assert models.serving() == "v0001" and models.instant.ever() == ["i0001.0001", "i0001.0002"]


@pytest.mark.usefixtures("all_are_found")
def test_notes_of_an_earlier_release_have_no_thresholds(
    learner: Learner, studio: Labelled, models: ProjectModels, home: SmallRounds, tmp_path: Path
) -> None:
    starting(home, tmp_path, models, classes=LABELS, dataset_fingerprint="a round's")
    learnt(learner, studio, 1)
    file = models.instant.folder("i0001.0001") / "card.json"
    card = models.card("i0001.0001")
    file.write_text(card.model_copy(update={"instant": _without(card.instant, "refitted")}).model_dump_json())
    learnt(new(home, studio, models), studio, 2)
    assert models.serving() == "i0001.0002"


def _without(row: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in row.items() if key != name}
