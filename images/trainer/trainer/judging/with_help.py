"""A version's boxes on image files, with the detectors of a cluster for a part of them."""

import threading
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

Made = list[Boxes | ImageError]


def found_with(
    pool: Pool | None, folder: Path, detector: Detector, files: Sequence[Path], settings: Settings
) -> Iterator[Boxes | ImageError]:
    """As `found`. The detector here begins with the first files, those of the cluster with the last.

    folder: of the detector's version. Files that the cluster could not look at are looked at here.
    """
    home = settings.labelloop_home
    places = pool.places if pool is not None else 0
    if pool is None or not places or not folder.is_relative_to(home):
        yield from found(detector, files)
        return
    meeting = _Meeting(batches(files, BATCH))

    def help_out() -> None:
        while (number := meeting.last()) is not None:
            relative = [file.relative_to(home) for file in meeting.batches[number]]
            made = None
            try:
                made = pool.look(folder.relative_to(home), relative)
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
            yield from future.result() or found(detector, batch)
    finally:
        meeting.close()
        helpers.shutdown(wait=False)


class _Meeting:
    """Batches of files that are taken from both ends, until these meet."""

    def __init__(self, all_batches: Iterator[Sequence[Path]]) -> None:
        self.batches = list(all_batches)
        self.made: list[Future[Made | None]] = [Future() for _ in self.batches]
        self._lock = threading.Lock()
        self._from, self._to = 0, len(self.batches)

    def first(self) -> int | None:
        with self._lock:
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

    def close(self) -> None:
        """No more are taken."""
        with self._lock:
            self._from = self._to
