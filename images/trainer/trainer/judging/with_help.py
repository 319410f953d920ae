"""What a version finds in image files, with the detectors of a cluster for a part of them."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from labelloop.batches import batches
from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import ImageError
from labelloop.settings import Settings
from trainer.judging.detections import found
from trainer.peers.pool import Pool

BATCH = 8
SLOWER = 4.0
LEAST_S = 30.0
"""Help is waited for as long as the batch would take here so many times, and for LEAST_S at least."""

Made = list[Boxes | ImageError]


def found_with(
    pool: Pool | None, folder: Path, detector: Detector, files: Sequence[Path], settings: Settings
) -> Iterator[Boxes | ImageError]:
    """As `found`. The detector here begins with the first files, those of the cluster with the last.

    folder: of the detector's version. What the cluster could not look at, or not read, is looked at here.
    """
    home = settings.labelloop_home
    places = pool.places if pool is not None else 0
    if pool is None or not places or not all(path.is_relative_to(home) for path in (folder, *files)):
        yield from found(detector, files)
        return
    meeting = _Meeting([*batches(files, BATCH)])

    def help_out() -> None:
        while (number := meeting.last()) is not None:
            made = None
            try:
                relative = [file.relative_to(home) for file in meeting.batches[number]]
                made = pool.look(folder.relative_to(home), relative, meeting.patience_s)
            finally:
                meeting.made[number].set_result(made)
            if made is None:
                return

    helpers = ThreadPoolExecutor(places, thread_name_prefix="cluster")
    try:
        for _ in range(places):
            helpers.submit(help_out)
        while (number := meeting.first()) is not None:
            yield from found(detector, meeting.batches[number])
        for batch, future in meeting.theirs():
            yield from _completed(detector, batch, meeting.awaited(future))
    finally:
        meeting.close()
        helpers.shutdown(wait=False)


def _completed(detector: Detector, batch: Sequence[Path], made: Made | None) -> Iterator[Boxes | ImageError]:
    """A machine may not see what this one does, so an image that it could not read is read here."""
    if made is None:
        yield from found(detector, batch)
        return
    for file, boxes in zip(batch, made, strict=True):
        yield from found(detector, [file]) if isinstance(boxes, ImageError) else [boxes]


class _Meeting:
    """Batches of files that are taken from both ends, until these meet."""

    def __init__(self, all_batches: Sequence[Sequence[Path]]) -> None:
        self.batches = all_batches
        self.made: list[Future[Made | None]] = [Future() for _ in all_batches]
        self._lock = threading.Lock()
        self._from, self._to = 0, len(all_batches)
        self._began = time.monotonic()
        self._slowest_s = 0.0

    @property
    def patience_s(self) -> float:
        return max(LEAST_S, SLOWER * self._slowest_s)

    def first(self) -> int | None:
        """The next from the front, which begins when the one before has ended."""
        with self._lock:
            now = time.monotonic()
            if self._from:
                self._slowest_s = max(self._slowest_s, now - self._began)
            self._began = now
            if self._from == self._to:
                return None
            self._from += 1
            return self._from - 1

    def last(self) -> int | None:
        with self._lock:
            if self._from == self._to:
                return None
            self._to -= 1
            return self._to

    def theirs(self) -> Iterator[tuple[Sequence[Path], "Future[Made | None]"]]:
        """Those that were taken from the end, once all are taken."""
        return zip(self.batches[self._to :], self.made[self._to :], strict=True)

    def awaited(self, future: "Future[Made | None]") -> Made | None:
        """What help has made; None when it could not, or is too slow."""
        try:
            return future.result(self.patience_s)
        except TimeoutError:
            return None

    def close(self) -> None:
        """No more are taken."""
        with self._lock:
            self._from = self._to
