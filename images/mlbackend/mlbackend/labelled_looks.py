"""The looks of a project's labelled images, as the trainer's last snapshot left them."""

import logging
import threading
from pathlib import Path

import numpy as np

from labelloop.images import Pixels
from labelloop.looks import WORDS, Looks, are_near, look_of, read_looks

log = logging.getLogger(__name__)

Stamp = tuple[int, int] | None


class LabelledLooks:
    """Tells near-duplicates of labelled images. Any thread may ask.

    path: the project's looks.txt, read again when it has changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: Stamp = None
        self._looks: Looks = np.empty((0, WORDS), np.uint64)

    def has_near(self, image: Pixels) -> bool:
        looks = self._current()
        if not len(looks):
            return False
        look = look_of(image)
        return look is not None and bool(are_near(look[None], looks).any())

    def _current(self) -> Looks:
        with self._lock:
            try:
                stat = self._path.stat()
                stamp = stat.st_ino, stat.st_mtime_ns
                if stamp != self._stamp:
                    found = b"".join(look for _, look in read_looks(self._path) if look is not None)
                    self._looks, self._stamp = np.frombuffer(found, np.uint64).reshape(-1, WORDS), stamp
            except FileNotFoundError:
                self._looks, self._stamp = np.empty((0, WORDS), np.uint64), None
            except OSError as error:
                log.warning("near-duplicates of labelled images are not known: %s", error)
            return self._looks
