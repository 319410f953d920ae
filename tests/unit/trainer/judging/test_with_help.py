"""Evaluation beside a cluster: who looks at which file, and what becomes of those that the cluster can't."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from support.shapes import picture

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import ImageError, Pixels
from labelloop.settings import Settings
from trainer.judging.with_help import BATCH, LEAST_S, found_with
from trainer.peers.pool import Pool

FILES = 5 * BATCH + 3


class Here:
    """Finds one box, whose score is 0.5."""

    batch_size = 4

    def __init__(self) -> None:
        self.looked = 0
        self.wait: threading.Event | None = None

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        if self.wait is not None:
            assert self.wait.wait(60)
        self.looked += len(images)
        return [Boxes.of([[0, 0, 9, 9]], [0.5], [0]) for _ in images]


class There:
    """Finds one box, whose score is the file's number, in the first `can` batches that it is asked for."""

    def __init__(self, can: int, places: int = 2) -> None:
        self.places, self._can = places, can
        self.asked: list[list[str]] = []
        self.folders: set[str] = set()
        self.done = threading.Event()
        self.unread: set[int] = set()

    def look(self, folder: Path, files: Sequence[Path], within_s: float) -> list[Boxes | ImageError] | None:
        assert within_s >= LEAST_S
        self.asked.append([str(file) for file in files])
        self.folders.add(str(folder))
        if len(self.asked) > self._can:
            self.done.set()
            return None
        return [
            ImageError(f"{file} is not there")
            if int(file.stem) in self.unread
            else Boxes.of([[0, 0, 9, 9]], [int(file.stem)], [0])
            for file in files
        ]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(labelloop_home=tmp_path)
    made.images_dir.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        picture(number, (160, 120)).image.save(made.images_dir / f"{number}.png")
    return made


def scores(there: There | None, here: Here, settings: Settings) -> list[float]:
    files = [settings.images_dir / f"{number}.png" for number in range(FILES)]
    folder = settings.models_dir / "1" / "v0001"
    made = list(found_with(cast(Pool, there), folder, cast(Detector, here), files, settings))
    assert all(isinstance(boxes, Boxes) for boxes in made) and len(made) == FILES
    return [float(boxes.scores[0]) for boxes in made if isinstance(boxes, Boxes)]


def test_the_cluster_begins_with_the_last_files_and_all_come_in_their_order(settings: Settings) -> None:
    there, here = There(can=3, places=1), Here()
    here.wait = there.done
    found = scores(there, here, settings)
    # Its last batch has three files. It is asked for three, and fails at a fourth.
    theirs = 3 + 2 * BATCH
    assert found == [0.5] * (FILES - theirs) + list(range(FILES - theirs, FILES))
    assert here.looked == FILES - theirs
    assert there.folders == {"volumes/models/1/v0001"}
    assert there.asked[0] == [f"volumes/images/{number}.png" for number in range(FILES - 3, FILES)]


@pytest.mark.parametrize("there", [None, There(can=0), There(can=9, places=0)], ids=["none", "lost", "full"])
def test_without_its_help_all_is_found_here(settings: Settings, there: Any) -> None:
    here = Here()
    assert scores(there, here, settings) == [0.5] * FILES
    assert here.looked == FILES


def test_an_image_that_a_machine_does_not_see_is_looked_at_here(settings: Settings) -> None:
    there, here = There(can=1, places=1), Here()
    there.unread = {FILES - 2}
    here.wait = there.done
    assert scores(there, here, settings)[-3:] == [FILES - 3, 0.5, FILES - 1]


def test_files_elsewhere_are_looked_at_here(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there, here = There(can=9), Here()
    elsewhere = tmp_path_factory.mktemp("disk") / "1.png"
    picture(1, (160, 120)).image.save(elsewhere)
    files = [*settings.images_dir.glob("*.png"), elsewhere]
    folder = settings.models_dir / "1" / "v0001"
    made = list(found_with(cast(Pool, there), folder, cast(Detector, here), files, settings))
    assert len(made) == here.looked == FILES + 1 and not there.asked
