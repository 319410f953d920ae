"""What Ray runs on a machine that has joined: an ML backend's models, without its HTTP server."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.errors import Explained, in_one_line
from labelloop.settings import Settings

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
        settings = Settings().model_copy(update=of_the_head)
        self._manager = ChampionManager.start(settings, Detector.load, threading.Event())

    def ready(self) -> None:
        """Answers once it is made."""

    def predict(self, tasks: list[Row], project: str, label_config: str) -> list[Row] | str:
        """One prediction for each task, in their order; or why there is none."""
        try:
            return self._manager.predict(tasks, project, label_config)[0]
        except (Explained, OSError) as error:
            return in_one_line(error)
