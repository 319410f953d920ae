"""The champions in service: loaded once, kept, swapped in the background when a registry pointer moves.

Several backends behind one name change together: no request that begins after one of them has named a newer
version is answered by another one with an older. None knows of the others; each goes by its own looks at the
pointers. A look that finds what serves leases it for SWITCH_S seconds: so long it may answer, whatever the
pointers say by then. What is loaded anew answers SWITCH_S seconds after its pointer was read, by when every
lease on a former one has ended. Whoever has no lease and is not done with loading keeps requests waiting.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from queue import PriorityQueue
from typing import TypeVar

import numpy as np

from labelloop.batches import batches
from labelloop.boxes import Boxes
from labelloop.images import Pixels
from labelloop.instant import champion_of, is_instant
from labelloop.looks import LOOKS_FILE
from labelloop.raw_boxes import RawBoxes
from labelloop.registry import ProjectModels, Registry, RegistryError
from mlbackend.champion import Champion, Detects, LoadDetector
from mlbackend.errors import BackendError
from mlbackend.labelled_looks import LabelledLooks
from mlbackend.loading import ImageLoader

log = logging.getLogger(__name__)

MAX_LOADED = 4
POLL_S = 1.0
RETRY_S = 15.0
SWITCH_S = 1.25
_LOOK_S = 0.2
"""Of one among several: from a promotion on, all serve it after the two together, if it is loaded by then."""
_LEAST_PATIENCE_S = 15.0
"""For one among several that is not done with loading the next. Label Studio waits for 20 s."""
OVERTAKEN = 4
QUIET_S = 0.5
"""After so long without a pass, freeing a model keeps nobody waiting."""
IN_NETWORK_S = 0.003
"""After so long a pass has prepared its images; its network takes longer."""
_WARM_UP_SIDE = 64
_NEVER = ((-1, -1), None)

T = TypeVar("T")
Stamp = tuple[tuple[int, int] | None, tuple[int, int] | None] | None


class ForwardLane:
    """Runs forward passes one by one, on one thread: torch keeps a pool of threads per calling thread.

    Between two of a request's batches other requests have their turn. A pass of one image, for which a person
    waits, goes before as many as OVERTAKEN that came earlier with several.
    """

    def __init__(self) -> None:
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._numbers = itertools.count()
        self._waiting: PriorityQueue[tuple[int, int, Callable[[], None]]] = PriorityQueue()
        self._begun = threading.Condition()

    def __call__(self, detector: Detects, images: Sequence[Pixels]) -> list[Boxes]:
        found: list[Boxes] = []
        for batch in batches(images, detector.batch_size):
            found += self._in_turn(partial(detector.predict, batch), len(images))
        return found

    def raw(self, detector: Detects, images: Sequence[Pixels]) -> list[RawBoxes]:
        return self._in_turn(partial(detector.raw, images), len(images))

    def _in_turn(self, run: Callable[[], list[T]], images: int) -> list[T]:
        done: Future[list[T]] = Future()

        def work() -> None:
            try:
                done.set_result(run())
            except BaseException as error:
                done.set_exception(error)

        number = next(self._numbers)
        self._waiting.put((number if images == 1 else number + OVERTAKEN, number, work))
        self._lane.submit(self._next)
        return done.result()

    def _next(self) -> None:
        """Runs the pass that goes first. There are as many calls of this as passes that wait."""
        _, _, work = self._waiting.get_nowait()
        with self._begun:
            self._begun.notify_all()
        work()

    def wait_for_begin(self, at_most_s: float) -> None:
        """Returns when the next pass begins, or after `at_most_s` without one."""
        with self._begun:
            self._begun.wait(at_most_s)


@dataclass
class Place:
    """One project's place among the champions.

    seen: the stamp of the pointers when `champion` and `error` were set. folder: inode and time of the last
    change of the champion's folder; another project that gets this number has versions of the same names.
    error: why the version that the pointer names is not served. read_at: when the pointers were read for the
    load that is under way. leased_until: see the module. The times are time.monotonic()'s.
    """

    project_id: int
    champion: Champion | None = None
    error: str = ""
    seen: Stamp = _NEVER
    folder: tuple[int, int] = (-1, -1)
    loading: Future[None] | None = None
    retry_at: float = 0.0
    read_at: float = 0.0
    leased_until: float = 0.0
    used_at: float = field(default_factory=time.monotonic)


class Champions:
    """At most `max_loaded` projects' champions in memory; the least recently used one makes room.

    several: whether other backends are behind the same name.
    """

    def __init__(
        self,
        registry: Registry,
        load: LoadDetector,
        images: ImageLoader,
        threshold: float,
        max_loaded: int = MAX_LOADED,
        *,
        several: bool = False,
    ) -> None:
        self._registry = registry
        self._load_detector = load
        self._images = images
        self._threshold = threshold
        self._max_loaded = max_loaded
        self._switch_s = SWITCH_S if several else 0.0
        self._forward = ForwardLane()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._swaps = ThreadPoolExecutor(max_loaded, thread_name_prefix="swap")
        self._places: dict[int, Place] = {}
        self._leaving: list[Champion | None] = []
        self._left: list[Champion | None] = []
        self._lock = threading.Lock()

    def watch(self, stop: threading.Event) -> None:
        """Starts a thread that follows the pointers until `stop` is set."""
        threading.Thread(target=self._follow, args=(stop,), name="watch", daemon=True).start()

    def places(self) -> list[Place]:
        """By project id."""
        with self._lock:
            return sorted(self._places.values(), key=lambda place: place.project_id)

    def get(self, project_id: int, patience_s: float) -> Champion:
        """The project's champion, loaded if need be; while a newer one is being loaded, the one that serves,
        of several backends no longer than its lease.

        Raises:
            BackendError: 503, there is none, it cannot be loaded, or that takes longer than patience_s.
        """
        place = self._place(project_id)
        place.used_at = time.monotonic()
        if self._switch_s and place.champion is not None:
            patience_s = max(patience_s, _LEAST_PATIENCE_S)
        deadline = place.used_at + patience_s
        while True:
            # A load that began before the pointer moved says nothing of what it points at now.
            loading = self._poll(place)
            if self._that_may_answer(place) is None and loading is not None:
                wait([loading], max(deadline - time.monotonic(), 0.0))
            champion = self._that_may_answer(place)
            if champion is not None:
                return champion
            if (place.champion is None and loading is None) or time.monotonic() >= deadline:
                error = f"project {project_id}: its model is still being loaded"
                raise BackendError(503, place.error or error)

    def _that_may_answer(self, place: Place) -> Champion | None:
        """The champion, unless it is one of several backends' and has no lease."""
        with self._lock:  # a lease is that champion's which has it
            leased = not self._switch_s or time.monotonic() < place.leased_until
            return place.champion if leased else None

    def _place(self, project_id: int) -> Place:
        models = self._registry.project(project_id)
        with self._lock:
            if project_id in self._places:
                return self._places[project_id]
            if not models.path.is_dir():
                raise BackendError(
                    503,
                    f"project {project_id} has no model yet: the trainer writes the starting model of every "
                    "project with RectangleLabels; see `make logs`",
                )
            return self._places.setdefault(project_id, Place(project_id))

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._free()
            try:
                known = [place.project_id for place in self.places()]
                for project_id in sorted({*self._registry.projects(), *known}):
                    place = self._place(project_id)
                    if place.champion is not None or self._has_room():
                        self._poll(place)
            except Exception:
                log.exception("following the champion pointers failed; trying on")
            stop.wait(_LOOK_S if self._switch_s else POLL_S)

    def _has_room(self) -> bool:
        with self._lock:
            taken = sum(1 for p in self._places.values() if p.champion is not None or p.loading is not None)
        return taken < self._max_loaded

    def _poll(self, place: Place) -> Future[None] | None:
        """The load that is under way, begun now if the pointer has moved."""
        looked_at = time.monotonic()
        stamp = self._registry.project(place.project_id).serving_stamp()
        with self._lock:
            if stamp == place.seen:
                place.leased_until = looked_at + self._switch_s
            if place.loading is None:
                again = bool(place.error) and time.monotonic() >= place.retry_at
                if stamp != place.seen or again:
                    place.loading = self._swaps.submit(self._swap, place, stamp)
            return place.loading

    def _swap(self, place: Place, stamp: Stamp) -> None:
        champion, error = place.champion, ""
        began = time.monotonic()
        try:
            champion, error = self._loader.submit(self._loaded, place).result()
        except Exception as problem:
            error = f"project {place.project_id}: {problem}"
            if not self._registry.project(place.project_id).path.is_dir():
                champion = None  # the project is gone, and another project may get its number
            if champion is not None:
                error += f" {champion.version} keeps serving."
        if champion is not place.champion:
            time.sleep(max(place.read_at + self._switch_s - time.monotonic(), 0.0))
        with self._lock:
            if error and error != place.error:
                log.warning("%s", error)
            elif champion is not place.champion and champion is not None:
                log.info(
                    "project %d: %s serves, loaded in %.1f s",
                    place.project_id,
                    champion.version,
                    time.monotonic() - began,
                )
            if champion is not place.champion:
                self._leaving.append(place.champion)
            place.champion, place.error, place.seen, place.loading = champion, error, stamp, None
            place.leased_until = 0.0  # the next look leases it, if it is what serves
            place.retry_at = time.monotonic() + RETRY_S
            self._make_room(place)

    def _loaded(self, place: Place) -> tuple[Champion, str]:
        """What serves, and why it is the champion itself where an instant version should; that is tried
        again.
        """
        models = self._registry.project(place.project_id)
        version = models.serving()
        place.read_at = time.monotonic()
        if version is None:
            raise RegistryError(
                f"no model yet at {models.path}: the trainer writes the starting model; see `make logs`."
            )
        if is_instant(version):
            try:
                return self._made(place, models, version), ""
            except Exception as problem:  # whatever it is, the champion still serves
                champion = self._made(place, models, champion_of(version))
                error = f"project {place.project_id}: {version} cannot serve: {problem}"
                return champion, f"{error} {champion.version} serves in its place."
        return self._made(place, models, version), ""

    def _made(self, place: Place, models: ProjectModels, version: str) -> Champion:
        folder = models.folder(version)
        stat = folder.stat()
        found = stat.st_ino, stat.st_mtime_ns
        if place.champion is not None and place.champion.version == version and place.folder == found:
            return place.champion
        models.check(version)
        detector = self._load_detector(folder)
        # Not in the lane: the first pass takes longest, and what serves goes on meanwhile.
        detector.predict([np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE, 3), dtype=np.uint8)])
        place.folder = found
        labelled = LabelledLooks(models.path / LOOKS_FILE)
        return Champion(version, detector, self._images, self._forward, self._threshold, labelled)

    def _make_room(self, newest: Place) -> None:
        loaded = [
            place for place in self._places.values() if place.champion is not None and place is not newest
        ]
        excess = len(loaded) + (newest.champion is not None) - self._max_loaded
        for place in sorted(loaded, key=lambda place: place.used_at)[: max(excess, 0)]:
            log.info("project %d: its model makes room for project %d's", place.project_id, newest.project_id)
            self._leaving.append(place.champion)
            place.champion, place.error, place.seen = None, "", _NEVER

    def _free(self) -> None:
        """Lets go of the champions that left before the last look at the pointers.

        Whoever holds a model last frees it; by now no request does. Meanwhile no thread runs Python code, for
        half as long as a request takes. So it is done while a pass is in its network, which needs none.
        """
        with self._lock:
            gone, self._left, self._leaving = self._left, self._leaving, []
        while gone:
            if gone[-1] is not None:
                self._forward.wait_for_begin(QUIET_S)
                time.sleep(IN_NETWORK_S)
            gone.pop()
