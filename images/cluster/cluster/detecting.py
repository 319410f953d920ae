"""What Ray runs on a machine that has joined: an ML backend's models, without its HTTP server."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelloop.boxes import Boxes
from labelloop.errors import Explained, in_one_line
from labelloop.images import ImageError
from labelloop.settings import Settings

if TYPE_CHECKING:
    from labelloop.detector import Detector

Row = dict[str, Any]

CORES = 4
"""On a machine without a GPU, each detector has so many cores at most: several small ones see more images
than one that has all.
"""


@dataclass(frozen=True)
class Share:
    """A detector's part of its machine: one GPU, by its number there, or so many threads."""

    threads: int
    gpu: int | None = None


def shares(cores: float, gpus: float) -> Sequence[Share]:
    """What a machine's detectors have.

    >>> [share.threads for share in shares(10, 0)]
    [4, 3, 3]
    >>> shares(16, 2)
    [Share(threads=8, gpu=0), Share(threads=8, gpu=1)]
    """
    cores, count = max(1, int(cores)), int(gpus) or -(-max(1, int(cores)) // CORES)
    threads = [max(1, cores // count + (number < cores % count)) for number in range(count)]
    return [Share(each, number if gpus else None) for number, each in enumerate(threads)]


class Detecting:
    """Answers as the ML backend does, from the champions that the registry on the shared volume names."""

    def __init__(self, share: Share, score_threshold: float) -> None:
        """score_threshold: the head's; each machine has an environment of its own."""
        # Ray shows no GPU to what reserves none. Detectors reserve nothing: they work beside rounds.
        os.environ["CUDA_VISIBLE_DEVICES"] = "" if share.gpu is None else str(share.gpu)
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        import torch

        from labelloop.detector import Detector
        from mlbackend.manager import ChampionManager

        torch.set_num_threads(share.threads)
        of_the_head = {"score_threshold": score_threshold, "threads": share.threads}
        self._settings = Settings().model_copy(update=of_the_head)
        self._manager = ChampionManager.start(self._settings, Detector.load, threading.Event())
        self._looking = threading.Lock()
        self._last: tuple[tuple[Path, int], Detector] | None = None

    def ready(self) -> None:
        """Answers once it is made."""

    def predict(self, tasks: list[Row], project: str, label_config: str) -> list[Row] | str:
        """One prediction for each task, in their order; or why there is none."""
        try:
            return self._manager.predict(tasks, project, label_config)[0]
        except (Explained, OSError) as error:
            return in_one_line(error)

    def look(self, folder: str, files: list[str]) -> list[Row] | str:
        """What a version finds in each file, in their order, in its own classes: {"xyxy", "scores",
        "labels"}, or {"error"} of an image that cannot be read; or why there is nothing.

        folder: of the version, or of a round's candidate. It and the files are paths below LABELLOOP_HOME.
        """
        from trainer.judging.detections import found

        home = self._settings.labelloop_home
        try:
            with self._looking:
                detector = self._load(home / folder)
                return [_told(boxes) for boxes in found(detector, [home / file for file in files])]
        except (Explained, OSError) as error:
            return in_one_line(error)

    def _load(self, folder: Path) -> "Detector":
        """Kept for the next request: whoever asks, asks for many files."""
        from trainer.judging.detections import load_detector

        stamp = folder, folder.stat().st_mtime_ns
        if self._last is None or self._last[0] != stamp:
            self._last = stamp, load_detector(folder, self._settings)
        return self._last[1]


def _told(boxes: Boxes | ImageError) -> Row:
    if isinstance(boxes, ImageError):
        return {"error": str(boxes)}
    return {name: getattr(boxes, name).tolist() for name in ("xyxy", "scores", "labels")}
