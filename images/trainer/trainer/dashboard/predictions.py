"""A version's boxes on a project's labelled images.

The evaluation keeps only what the gate needs, label by label. The boxes, and their matches, are made here on
demand, in a process of low priority: `python -m trainer.dashboard.predictions <project> <version>`. It reads
the labels as they are at that moment. What it finds is kept beside the project's versions, in
seen/<version>.<n>/, with a snapshot of the labels. An image that the version has seen before is not looked at
again. Former releases kept the boxes in the folder of the round whose snapshot they are of; these are read,
too.
"""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from labelloop.boxes import Boxes
from labelloop.errors import Explained, in_one_line
from labelloop.files import write_text
from labelloop.image_cache import ImageCache
from labelloop.images import ImageError
from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import ProjectModels, Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.tidying import Rules, tidied
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot, collect, snapshotting
from trainer.env import TrainerSettings, get_settings
from trainer.judging.matches import without_ignored
from trainer.rounds.folder import SEEN, predictions_file
from trainer.system.children import die_with_parent

log = logging.getLogger(__name__)

LOWEST_SCORE = 0.05
NICENESS = 10
SAY_EVERY_S = 0.5

Say = Callable[[str], None]
Row = tuple[float, float, float, float, float, int]


class LookError(Explained):
    """The images cannot be looked at now; the message says why."""


class Predictions(BaseModel):
    """boxes: by the snapshot's image id, rows of x1 y1 x2 y2 in pixels, score, and index into its labels.
    Images that could not be read are missing. began: when the labels were read; None in what a former release
    has kept.
    """

    version: str
    fingerprint: str
    boxes: dict[int, list[Row]]
    began: datetime | None = None

    def of(self, image: SnapshotImage) -> Boxes:
        """Every box that the version found on an image."""
        rows = self.boxes.get(image.id, [])
        return Boxes.of([row[:4] for row in rows], [row[4] for row in rows], [row[5] for row in rows])

    def shown(self, image: SnapshotImage, thresholds: np.ndarray, rules: Rules) -> Boxes:
        """The boxes that people are shown on an image, as the backend proposes them: one for each object.

        thresholds: (labels,) the lowest scores at which they are proposed. Those on ignored boxes are left
        out.
        """
        found = self.of(image)
        proposed = tidied(found, rules).kept & (found.scores >= thresholds[found.labels])
        return without_ignored(found.select(proposed), junk.without(image), len(thresholds))


def path_of(folder: Path, version: str) -> Path:
    return folder / predictions_file(version)


def load(folder: Path, version: str) -> Predictions | None:
    """A version's predictions; None before they are made."""
    try:
        return Predictions.model_validate_json(path_of(folder, version).read_bytes())
    except (OSError, ValidationError):
        return None


def truth_of(image: SnapshotImage) -> Boxes:
    """Its boxes, without junk."""
    image = junk.without(image)
    return Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)


def newest(models: ProjectModels, version: str) -> Path | None:
    """The folder of a version's newest look; None before the first."""
    complete = [folder for folder in _looks(models, version) if path_of(folder, version).is_file()]
    return max(complete, key=_number, default=None)


def folder_of(models: ProjectModels, version: str, round_folder: Path) -> Path | None:
    """The folder with a snapshot and a version's boxes on it: of its newest look, else that of the round that
    scored it, in which former releases kept them. None before any look.
    """
    found = newest(models, version)
    if found is None and path_of(round_folder, version).is_file():
        return round_folder
    return found


def log_of(models: ProjectModels, version: str) -> Path:
    return models.path / SEEN / f"{version}.log"


def look(project_id: int, version: str, settings: TrainerSettings, studio: Studio, say: Say) -> Path:
    """Predicts every labelled image of a project, as they are labelled now; returns the folder.

    Raises:
        LookError: another process is looking. RegistryError: the version cannot be loaded. Also the errors of
            `collect`.
    """
    registry = Registry(settings.models_dir)
    models = registry.project(project_id)
    root = models.path / SEEN
    try:
        with holding(root / "look.lock"):
            return _look(models, version, settings, studio, say)
    except Busy as error:
        raise LookError(
            f"process {error.note or '?'} looks at the images of project {project_id} already; "
            "wait for its end"
        ) from error


def _look(models: ProjectModels, version: str, settings: TrainerSettings, studio: Studio, say: Say) -> Path:
    before = _looks(models, version)
    last = newest(models, version)
    folder = models.path / SEEN / f"{version}.{1 + max(map(_number, before), default=0)}"
    began = datetime.now(UTC)
    say("reading the labels")
    with ImageCache(settings.cache_dir).in_use():
        with snapshotting(settings.rounds_dir):
            snapshot = collect(
                studio,
                int(models.path.name),
                settings,
                lambda fraction, words: say(f"reading the labels: {words}"),
            )
        snapshot.write(folder)
    make(folder, models.folder(version), settings, _known(last, version, snapshot), began, say)
    there = {*models.versions(), version}
    of_no_version = [path for path in folder.parent.iterdir() if path.is_dir() and path.stem not in there]
    for old in (*before, *of_no_version):
        if old != last:  # a page may be showing that one
            shutil.rmtree(old, ignore_errors=True)
    return folder


def make(
    folder: Path,
    version_folder: Path,
    settings: Settings,
    known: Mapping[str, list[Row]] | None = None,
    began: datetime | None = None,
    say: Say = print,
) -> Predictions:
    """Predicts the images of the folder's snapshot and keeps the result.

    known: by SHA-256, the boxes on images that the version has seen. began: when the snapshot was begun.

    Raises:
        RegistryError: the version cannot be loaded. OSError, ValueError: there is no snapshot to read.
    """
    snapshot = Snapshot.load(folder)
    seen = known or {}
    boxes = {image.id: seen[image.sha256] for image in snapshot.images if image.sha256 in seen}
    unseen = [image for image in snapshot.images if image.sha256 not in seen]
    if unseen:
        boxes |= _predicted(unseen, snapshot, version_folder, settings, say)
    version = version_folder.name
    made = Predictions(version=version, fingerprint=snapshot.fingerprint, boxes=boxes, began=began)
    write_text(path_of(folder, version), made.model_dump_json())
    return made


def _predicted(
    images: list[SnapshotImage], snapshot: Snapshot, version_folder: Path, settings: Settings, say: Say
) -> dict[int, list[Row]]:
    from trainer.judging.detections import READ_AT_ONCE, detections, load_detector

    detector = load_detector(version_folder, settings)
    label_map = detector.label_map(snapshot.label_config)
    boxes: dict[int, list[Row]] = {}
    count = len(images)
    files = [settings.labelloop_home / image.file for image in images]
    looked_at = zip(images, detections(detector, label_map, files), strict=True)
    for done, (image, found) in enumerate(looked_at, start=1):
        if isinstance(found, ImageError):
            log.warning("%s", found)
        else:
            boxes[image.id] = rows_of(found)
        if done % READ_AT_ONCE == 0 or done == count:
            say(f"{done} of {count} images")
    return boxes


def _known(last: Path | None, version: str, snapshot: Snapshot) -> dict[str, list[Row]]:
    """By SHA-256, what a look of the version has found, if the labels are numbered in the same way."""
    found = load(last, version) if last is not None else None
    if last is None or found is None:
        return {}
    try:
        before = Snapshot.load(last)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if before.label_config_xml != snapshot.label_config_xml:
        return {}
    return {image.sha256: found.boxes[image.id] for image in before.images if image.id in found.boxes}


def _looks(models: ProjectModels, version: str) -> list[Path]:
    """The folders of a version's looks, complete or not."""
    pattern = re.compile(rf"{re.escape(version)}\.\d+")
    root = models.path / SEEN
    return [path for path in root.iterdir() if pattern.fullmatch(path.name)] if root.is_dir() else []


def _number(folder: Path) -> int:
    return int(folder.name.rpartition(".")[2])


def rows_of(boxes: Boxes) -> list[Row]:
    """Boxes of LOWEST_SCORE and above, rounded to the digits that are shown."""
    return [
        (*(round(float(value), 1) for value in box), round(float(score), 4), int(label))  # type: ignore[misc]
        for box, score, label in zip(boxes.xyxy, boxes.scores, boxes.labels, strict=True)
        if score >= LOWEST_SCORE
    ]


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.nice(NICENESS)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    said_at = 0.0

    def say(words: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_EVERY_S:
            said_at = time.monotonic()
            print(words, flush=True)

    try:
        look(int(arguments[0]), arguments[1], settings, Studio.connect(settings), say)
    except (Explained, OSError, ValueError) as error:
        print(in_one_line(error) if isinstance(error, ValueError) else error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
