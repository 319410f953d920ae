"""A version's boxes on a round's labelled images, made once and kept in the round's folder.

The evaluation keeps only what the gate needs, label by label. The boxes, and their matches, are made here on
demand, in a process of low priority: `python -m trainer.dashboard.predictions <round> <version>`.
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from labelloop.boxes import Boxes
from labelloop.errors import Explained
from labelloop.files import write_text
from labelloop.images import ImageError
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.env import get_settings
from trainer.judging.matches import without_ignored
from trainer.loop import Loop
from trainer.rounds.folder import predictions_file
from trainer.rounds.table import Rounds
from trainer.system.children import Child, describe, die_with_parent

log = logging.getLogger(__name__)

LOWEST_SCORE = 0.05
NICENESS = 10

Row = tuple[float, float, float, float, float, int]


class Predictions(BaseModel):
    """boxes: by the snapshot's image id, rows of x1 y1 x2 y2 in pixels, score, and index into its labels.
    Images that could not be read are missing.
    """

    version: str
    fingerprint: str
    boxes: dict[int, list[Row]]

    def of(self, image: SnapshotImage, thresholds: np.ndarray | None = None) -> Boxes:
        """An image's boxes. thresholds: (labels,) the lowest scores at which they count; boxes on ignored
        boxes then do not count.
        """
        rows = self.boxes.get(image.id, [])
        found = Boxes.of([row[:4] for row in rows], [row[4] for row in rows], [row[5] for row in rows])
        if thresholds is None:
            return found
        counted = found.select(found.scores >= thresholds[found.labels])
        return without_ignored(counted, junk.without(image), len(thresholds))


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


def make(folder: Path, version_folder: Path, settings: Settings) -> Predictions:
    """Predicts every image of the folder's snapshot and keeps the result.

    Raises:
        RegistryError: the version cannot be loaded. OSError, ValueError: there is no snapshot to read.
    """
    from trainer.judging.detections import READ_AT_ONCE, detections, load_detector

    snapshot = Snapshot.load(folder)
    detector = load_detector(version_folder, settings)
    label_map = detector.label_map(snapshot.label_config)
    boxes: dict[int, list[Row]] = {}
    count = len(snapshot.images)
    files = [settings.labelloop_home / image.file for image in snapshot.images]
    looked_at = zip(snapshot.images, detections(detector, label_map, files), strict=True)
    for done, (image, found) in enumerate(looked_at, start=1):
        if isinstance(found, ImageError):
            log.warning("%s", found)
        else:
            boxes[image.id] = rows_of(found)
        if done % READ_AT_ONCE == 0 or done == count:
            print(f"{done} of {count} images", flush=True)
    made = Predictions(version=version_folder.name, fingerprint=snapshot.fingerprint, boxes=boxes)
    write_text(path_of(folder, version_folder.name), made.model_dump_json())
    return made


def rows_of(boxes: Boxes) -> list[Row]:
    """Boxes of LOWEST_SCORE and above, rounded to the digits that are shown."""
    return [
        (*(round(float(value), 1) for value in box), round(float(score), 4), int(label))  # type: ignore[misc]
        for box, score, label in zip(boxes.xyxy, boxes.scores, boxes.labels, strict=True)
        if score >= LOWEST_SCORE
    ]


class Looking:
    """Makes predictions in a child process, one at a time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._child: tuple[int, str, Child] | None = None

    def begin(self, round_id: int, version: str) -> str:
        """Begins to make predictions, if possible; returns a sentence that says what it did."""
        with self._lock:
            if self._child is not None and self._child[2].status() is None:
                return "Images are being looked at already; press again when that is over."
            log_path = self._loop.rounds.folder(round_id) / "predictions.log"
            log_path.unlink(missing_ok=True)
            module = "trainer.dashboard.predictions"
            self._child = round_id, version, Child([module, str(round_id), version], log_path)
        return f"{version} looks at the images of round {round_id} now."

    def state(self, round_id: int, version: str) -> str | None:
        """The state of these predictions in words; None when they are not under way and have not failed."""
        with self._lock:
            if self._child is None or self._child[:2] != (round_id, version):
                return None
            child = self._child[2]
            status = child.status()
            if status is None:
                return f"under way: {child.last_words() or 'loading the model'}"
            return None if status == 0 else f"failed: {child.last_words() or describe(status)}"

    def wait(self, seconds: float) -> bool:
        """Waits for the predictions under way; returns whether they are done."""
        deadline = time.monotonic() + seconds
        while self._child is not None and self._child[2].status() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def stop(self) -> None:
        with self._lock:
            if self._child is not None:
                self._child[2].stop()


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.nice(NICENESS)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    rounds = Rounds(settings.rounds_dir)
    round_ = rounds.get(int(arguments[0]))
    version_folder = Registry(settings.models_dir).project(round_.project).folder(arguments[1])
    try:
        make(rounds.folder(round_.id), version_folder, settings)
    except (Explained, OSError, ValueError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
