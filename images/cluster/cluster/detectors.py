"""The detectors on the machines that have joined: made as machines come, given up as they go."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.detecting import Detecting, Row, Share, shares
from labelloop.errors import Explained
from labelloop.settings import Settings
from trainer.cluster.announce import resource
from trainer.cluster.driver import require_share
from trainer.cluster.marker import NoShare
from trainer.cluster.nodes import Node

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Each detector is asked for so many batches at once: one is read while it looks at the other."""
ANSWER_S = 300.0
FREE_S = 30.0
_TRACE = 0.001
"""Of the resource that names a machine's code: it must have it, and loses nothing that a round would need."""


class NoDetector(Explained):
    """No detector of the cluster has answered; the message says why."""


@dataclass(frozen=True, eq=False)
class Detector:
    """One of a machine's. actor: Ray's handle of a Detecting. ready: of its answer once it is made."""

    node: Node
    actor: Any
    ready: Any


class Detectors:
    """All of them. Any thread may ask; `follow` is for one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._all: list[Detector] = []
        self._making: list[Detector] = []
        self._asked: Counter[Detector] = Counter()
        self._refused: dict[str, str] = {}
        self._done: Counter[str] = Counter()

    @property
    def places(self) -> int:
        """How many batches can be asked for at once."""
        with self._changed:
            return AT_ONCE * len(self._all)

    @property
    def machines(self) -> dict[str, dict[str, int]]:
        """By machine: its detectors, and at how many images they have looked since this program began."""
        with self._changed:
            counts = Counter(detector.node.name for detector in self._all)
            return {
                name: {"detectors": counts[name], "images": self._done[name]}
                for name in sorted({*counts, *self._done})
            }

    def follow(self, nodes: Iterable[Node], version: str) -> None:
        """Gives up the detectors of machines that have gone, and has machines that have come make theirs.

        nodes: the machines that have joined and live. version: of the head's code. Others get no work.
        """
        there = {node.id: node for node in nodes if node.version == version}
        with self._changed:
            self._all = [detector for detector in self._all if detector.node.id in there]
            known = {detector.node.id for detector in [*self._all, *self._making]}
        for node in (there[name] for name in there.keys() - known):
            if self._sees_our_volumes(node):
                self._making += [self._start(node, share) for share in shares(node.cpus, node.gpus)]
        self._take_in(there)

    def _take_in(self, there: Container[str]) -> None:
        """Those that are made. Until they are, whatever were asked of them would wait."""
        still = []
        for detector in self._making:
            if not ray.wait([detector.ready], timeout=0)[0]:
                still.append(detector)
                continue
            try:
                ray.get(detector.ready)
            except RayError as error:
                log.warning("%s: no detector: %s", detector.node.name, _first_line(error))
                continue
            log.info("%s: a detector", detector.node.name)
            with self._changed:
                self._all.append(detector)
                self._changed.notify_all()
        self._making = [detector for detector in still if detector.node.id in there]

    def predict(self, tasks: list[Row], project: str, label_config: str) -> list[Row]:
        """One prediction for each task; see `Detecting.predict`. Raises NoDetector."""
        return self._ask("predict", len(tasks), tasks, project, label_config)

    def look(self, folder: str, files: list[str]) -> list[Row]:
        """A version's boxes in each file; see `Detecting.look`. Raises NoDetector."""
        return self._ask("look", len(files), folder, files)

    def _ask(self, what: str, images: int, *arguments: Any) -> list[Row]:
        """Asks the detector that has the least to do. what: the method. images: how many it looks at.

        Raises:
            NoDetector: there is none, or that one was lost, or it says why it cannot.
        """
        with self._least_asked() as detector:
            try:
                answer = ray.get(getattr(detector.actor, what).remote(*arguments), timeout=ANSWER_S)
            except GetTimeoutError as error:
                self._give_up(detector)
                raise NoDetector(f"{detector.node.name} has not answered in {ANSWER_S:.0f} s") from error
            except RayError as error:
                self._give_up(detector)
                raise NoDetector(f"{detector.node.name} was lost: {_first_line(error)}") from error
        if isinstance(answer, str):
            raise NoDetector(f"{detector.node.name}: {answer}")
        with self._changed:
            self._done[detector.node.name] += images
        return list(answer)

    @contextmanager
    def _least_asked(self) -> Iterator[Detector]:
        until = time.monotonic() + FREE_S
        with self._changed:
            while not (free := [one for one in self._all if self._asked[one] < AT_ONCE]):
                if not self._all or not self._changed.wait(until - time.monotonic()):
                    raise NoDetector("no detector of the cluster is free")
            chosen = min(free, key=lambda one: self._asked[one])
            self._asked[chosen] += 1
        try:
            yield chosen
        finally:
            with self._changed:
                self._asked[chosen] -= 1
                self._changed.notify_all()

    def _give_up(self, detector: Detector) -> None:
        """The machine's other detectors go, too, and the next look has it make all of them anew."""
        with self._changed:
            gone = [one for one in self._all if one.node.id == detector.node.id]
            self._all = [one for one in self._all if one.node.id != detector.node.id]
        log.warning("%s: its detectors are given up", detector.node.name)
        for one in gone:
            ray.kill(one.actor)

    def _sees_our_volumes(self, node: Node) -> bool:
        try:
            require_share([node], self._settings.rounds_dir)
        except (NoShare, RayError) as error:
            if self._refused.get(node.id) != str(error):
                self._refused[node.id] = str(error)
                log.warning("%s makes no pre-labels: %s", node.name, error)
            return False
        return True

    def _start(self, node: Node, share: Share) -> Detector:
        """It reserves nothing: it works beside rounds, as the ML backend does beside the trainer."""
        actor = (
            ray.remote(Detecting)
            .options(
                num_cpus=0,
                num_gpus=0,
                resources={resource(node.version): _TRACE},
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                max_concurrency=AT_ONCE,
            )
            .remote(share, self._settings.score_threshold)
        )
        return Detector(node, actor, actor.ready.remote())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
