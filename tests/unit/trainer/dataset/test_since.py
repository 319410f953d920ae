"""Images that were labelled after a round's snapshot."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from support.fake_studio import FakeStudio
from support.labelled_tasks import label
from support.shapes import LABEL_CONFIG, picture

from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from labelloop.verified import marked
from trainer.dataset import since, snapshot
from trainer.dataset.snapshot import Snapshot
from trainer.env import TrainerSettings


class Round:
    """A round that has taken its snapshot, of four images."""

    def __init__(self, settings: TrainerSettings, studio: Studio, fake: FakeStudio, folder: Path) -> None:
        self.settings, self.studio, self.fake, self.folder = settings, studio, fake, folder
        self.began = datetime.now(UTC)
        for _ in range(4):
            self.label()
        self.snapshot = snapshot.take(studio, 1, settings, folder, lambda fraction, words: None)

    def label(self) -> int:
        return label(self.fake, self.settings.images_dir)

    def tasks(self, of: Snapshot | None = None) -> list[int]:
        found = since.take(
            self.studio,
            1,
            self.settings,
            self.folder,
            of or self.snapshot,
            self.began,
            lambda fraction, words: None,
        )
        assert all(image.labels for image in found)
        return [image.task for image in found]


@pytest.fixture
def round_(
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    tmp_path: Path,
) -> Round:
    return Round(loop_settings, studio, fake_studio, tmp_path / "round")


def test_what_is_in_the_snapshot_is_no_evidence(round_: Round) -> None:
    assert round_.tasks() == []


def test_what_was_labelled_since_is_and_is_settled_once(round_: Round) -> None:
    newer = [round_.label(), round_.label()]
    assert round_.tasks() == newer
    round_.label()
    assert round_.tasks() == newer, "a round that is killed and goes on compares on the same images"


def test_a_near_duplicate_of_a_trained_image_is_none(round_: Round) -> None:
    trained = next(iter(round_.snapshot.train)).task
    number = round_.label()
    again = picture(trained).image.resize((300, 225), Image.Resampling.LANCZOS)
    again.save(round_.settings.images_dir / f"{number}.png")
    other = round_.label()
    assert round_.tasks() == [other]


def test_an_image_that_an_earlier_round_was_trained_on_is_none(round_: Round) -> None:
    """Its label was taken back before the snapshot, and given again since."""
    number = round_.label()
    snapshot.take(
        round_.studio, 1, round_.settings, round_.folder.with_name("later"), lambda fraction, words: None
    )
    assert number not in {image.task for image in round_.snapshot.images}
    assert round_.tasks() == []


def test_an_image_that_was_verified_crop_by_crop_is_none(round_: Round) -> None:
    """Its boxes are those of the version that proposed them."""
    verified, other = round_.label(), round_.label()
    [annotation] = round_.fake.tasks[verified]["annotations"]
    annotation["result"] = [marked(row, "ann@example.org", 0.0) for row in annotation["result"]]
    assert round_.tasks() == [other]


def test_under_another_label_config_there_is_none(round_: Round) -> None:
    round_.label()
    other = LABEL_CONFIG.replace("crate", "box")
    assert round_.tasks(replace(round_.snapshot, label_config_xml=other)) == []
