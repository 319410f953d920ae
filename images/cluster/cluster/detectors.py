"""The detectors on the machines that have joined: made as machines come, given up as they go."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.detecting import Detecting, Row, shares
from labelloop.errors import Explained
from labelloop.settings import Settings
from trainer.cluster.announce import resource
from trainer.cluster.marker import NoShare, seen_here
from trainer.cluster.nodes import Node

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Each detector is asked for so many batches at once: one is read while it looks at the other."""
FREE_S = 2.0
REST_S, SLOW_REST_S = 5.0, 300.0
"""For so long one is not asked that could not do a batch, and one that did not in time."""
AGAIN_S = 30.0
"""After so long a machine where one could not be made, or was lost, makes its detectors anew."""
_TRACE = 0.001
"""Of the resource that names a machine's code: it must have it, and loses nothing that a round would need."""


class NoDetector(Explained):
    """No detector of the cluster has answered; the message says why."""


@dataclass(eq=False)
class Detector:
    """One of a machine's. actor: Ray's handle of a Detecting. ready: of its answer once it is made.

    rests_until: time.monotonic().
    """

    node: Node
    actor: Any
    ready: Any
    rests_until: float = 0.0

    @property
    def rests(self) -> bool:
        return time.monotonic() < self.rests_until


class Detectors:
    """All of them. Any thread may ask; `follow` is for one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._all: list[Detector] = []
        self._making: list[Detector] = []
        self._asked: Counter[Detector] = Counter()
        self._not_before: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._done: Counter[str] = Counter()

    @property
    def places(self) -> int:
        """How many batches can be asked for at once."""
        with self._changed:
            return AT_ONCE * sum(not detector.rests for detector in self._all)

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
            gone = {one.node.id for one in [*self._all, *self._making]} - there.keys()
        for node_id in gone:
            self._give_up(node_id)
        for detector in list(self._making):
            if ray.wait([detector.ready], timeout=0)[0]:
                self._take_in(detector)
        with self._changed:
            known = {one.node.id for one in [*self._all, *self._making]}
        for node in (there[node_id] for node_id in there.keys() - known):
            if time.monotonic() >= self._not_before.get(node.id, 0.0):
                self._make(node)

    def predict(
        self,
        tasks: list[Row],
        project: str,
        label_config: str,
        version: str,
        classes: list[str],
        within_s: float,
    ) -> list[Row]:
        """One prediction for each task; see `Detecting.predict`. Raises NoDetector."""
        return self._ask("predict", len(tasks), within_s, tasks, project, label_config, version, classes)

    def look(self, folder: str, files: list[str], within_s: float) -> list[Row]:
        """What a version finds in each file; see `Detecting.look`. Raises NoDetector."""
        return self._ask("look", len(files), within_s, folder, files)

    def _ask(self, what: str, images: int, within_s: float, *arguments: Any) -> list[Row]:
        """Asks the detector that has the least to do. what: the method. images: how many it looks at.

        Raises:
            NoDetector: none is free, or that one was lost, is slow, or says why it cannot.
        """
        with self._least_asked() as detector:
            name = detector.node.name
            try:
                answer = ray.get(getattr(detector.actor, what).remote(*arguments), timeout=within_s)
            except GetTimeoutError as error:
                detector.rests_until = time.monotonic() + SLOW_REST_S
                log.warning("%s has not answered in %.0f s; it rests", name, within_s)
                raise NoDetector(f"{name} has not answered in {within_s:.0f} s") from error
            except RayError as error:
                if detector in self._all:
                    log.warning("%s: its detectors are lost: %s", name, _first_line(error))
                    self._give_up(detector.node.id)
                raise NoDetector(f"{name} was lost: {_first_line(error)}") from error
        if isinstance(answer, str):
            detector.rests_until = time.monotonic() + REST_S
            raise NoDetector(f"{name}: {answer}")
        with self._changed:
            self._done[name] += images
        return list(answer)

    @contextmanager
    def _least_asked(self) -> Iterator[Detector]:
        until = time.monotonic() + FREE_S
        with self._changed:
            while not (free := [one for one in self._all if self._asked[one] < AT_ONCE and not one.rests]):
                if not self._all or not self._changed.wait(until - time.monotonic()):
                    raise NoDetector("no detector of the cluster is free")
            chosen = min(free, key=lambda one: self._asked[one])
            self._asked[chosen] += 1
        try:
            yield chosen
        finally:
            with self._changed:
                self._asked[chosen] -= 1
                if not self._asked[chosen]:
                    del self._asked[chosen]
                self._changed.notify_all()

    def _make(self, node: Node) -> None:
        """They reserve nothing: they work beside rounds, as the ML backend does beside the trainer."""
        seen_here(self._settings.rounds_dir)  # it has to be there before they look for it
        for share in shares(node.cpus, node.gpus, node.memory):
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
            self._making.append(Detector(node, actor, actor.ready.remote()))

    def _take_in(self, detector: Detector) -> None:
        """One that is made; until it is, whatever were asked of it would wait. It has to see our volumes."""
        node = detector.node
        try:
            seen_here(self._settings.rounds_dir).compare(node.name, ray.get(detector.ready))
        except (NoShare, RayError) as error:
            reason = str(error) if isinstance(error, NoShare) else _first_line(error)
            if self._refused.get(node.id) != reason:
                self._refused[node.id] = reason
                log.warning("%s makes no pre-labels: %s", node.name, reason)
            self._give_up(node.id)
            return
        log.info("%s: a detector", node.name)
        with self._changed:
            self._making = [one for one in self._making if one is not detector]
            self._all.append(detector)
            self._changed.notify_all()

    def _give_up(self, node_id: str) -> None:
        """A machine's detectors, all of them; a later look has it make them anew."""
        with self._changed:
            gone = [one for one in [*self._all, *self._making] if one.node.id == node_id]
            self._all = [one for one in self._all if one not in gone]
            self._making = [one for one in self._making if one not in gone]
            self._not_before[node_id] = time.monotonic() + AGAIN_S
            self._changed.notify_all()
        for one in gone:
            ray.kill(one.actor)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
