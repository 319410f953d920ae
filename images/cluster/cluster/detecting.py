"""What Ray runs on a machine that has joined: an ML backend's models, without its HTTP server."""

import os
import threading
from collections import OrderedDict
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
MEMORY_BYTES = 4e9
"""For each detector at least: several projects' models, and decoded images."""
KEPT = 2
"""So many versions are kept that rounds are judged by: a candidate and a champion."""


class NotBelow(Explained):
    """A path that was asked for is not where versions or images are."""


@dataclass(frozen=True)
class Share:
    """A detector's part of its machine: one GPU, by its place among those, or so many threads."""

    threads: int
    gpu: int | None = None


def shares(cores: float, gpus: float, memory: float = 0.0) -> Sequence[Share]:
    """What a machine's detectors have. memory: in bytes, 0 where it is not known.

    >>> [share.threads for share in shares(10, 0)]
    [4, 3, 3]
    >>> shares(16, 2)
    [Share(threads=8, gpu=0), Share(threads=8, gpu=1)]
    >>> len(shares(64, 0, memory=32e9))
    8
    """
    cores, count = max(1, int(cores)), int(gpus) or -(-max(1, int(cores)) // CORES)
    if memory:
        count = min(count, max(1, int(memory // MEMORY_BYTES)))
    threads = [max(1, cores // count + (number < cores % count)) for number in range(count)]
    return [Share(each, number if gpus else None) for number, each in enumerate(threads)]


class Detecting:
    """Answers as the ML backend does, from the champions that the registry on the shared volume names."""

    def __init__(self, share: Share, score_threshold: float) -> None:
        """score_threshold: the head's; each machine has an environment of its own."""
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible(share)
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        import torch

        from labelloop.detector import Detector
        from mlbackend.manager import ChampionManager

        torch.set_num_threads(share.threads)
        of_the_head = {"score_threshold": score_threshold, "threads": share.threads}
        self._settings = Settings().model_copy(update=of_the_head)
        self._manager = ChampionManager.start(self._settings, Detector.load, threading.Event())
        self._looking = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int], Detector] = OrderedDict()

    def ready(self) -> tuple[str, str]:
        """Once it is made: what marker.look_at_marker finds here."""
        from trainer.cluster.marker import look_at_marker

        return look_at_marker()

    def predict(
        self, tasks: list[Row], project: str, label_config: str, version: str, classes: list[str]
    ) -> list[Row] | str:
        """One prediction for each task, in their order; or why there is none.

        version, classes: those that are asked for. A renamed label changes the classes alone.
        """
        wanted = version, tuple(classes)
        try:
            if self._manager.served(project) != wanted:
                return f"it has yet to load {version}"
            made = self._manager.predict(tasks, project, label_config)[0]
            return made if self._manager.served(project) == wanted else f"{version} was replaced meanwhile"
        except Exception as error:  # whatever it is, others do this batch
            return in_one_line(error)

    def look(self, folder: str, files: list[str]) -> list[Row] | str:
        """What a version finds in each file, in their order, in its own classes: {"xyxy", "scores",
        "labels"}, or {"error"} of an image that cannot be read; or why there is nothing.

        folder: of the version, or of a round's candidate. It and the files are paths below LABELLOOP_HOME.
        """
        from trainer.judging.detections import found

        settings = self._settings
        home = settings.labelloop_home
        try:
            with self._looking:
                detector = self._load(_below(home, folder, settings.models_dir, settings.rounds_dir))
                paths = [_below(home, file, settings.volumes_dir) for file in files]
                return [_told(boxes) for boxes in found(detector, paths)]
        except Exception as error:  # whatever it is, others do this batch
            return in_one_line(error)

    def _load(self, folder: Path) -> "Detector":
        """Kept for the next request: whoever asks, asks for many files."""
        from trainer.judging.detections import load_detector

        stamp = folder, folder.stat().st_mtime_ns
        if stamp not in self._kept:
            self._kept[stamp] = load_detector(folder, self._settings)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(stamp)
        return self._kept[stamp]


def _visible(share: Share) -> str:
    """CUDA_VISIBLE_DEVICES of a detector: one of those that its machine's node sees, or none."""
    if share.gpu is None:
        return ""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return seen.split(",")[share.gpu] if seen else str(share.gpu)


def _below(home: Path, path: str, *rooms: Path) -> Path:
    """The path below LABELLOOP_HOME, without `..`. Raises NotBelow: it is in none of the rooms."""
    found = Path(os.path.normpath(home / path))
    if not any(found.is_relative_to(room) for room in rooms):
        raise NotBelow(f"{path}: not below {' or '.join(str(room.relative_to(home)) for room in rooms)}")
    return found


def _told(boxes: Boxes | ImageError) -> Row:
    if isinstance(boxes, ImageError):
        return {"error": str(boxes)}
    return {name: getattr(boxes, name).tolist() for name in ("xyxy", "scores", "labels")}
