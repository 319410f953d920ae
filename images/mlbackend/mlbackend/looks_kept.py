"""What a champion saw in the images that people pointed at last, within a bound of memory."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from labelloop.images import Pixels
from labelloop.raw_boxes import RawBoxes

MOST_BYTES = 128 << 20
MOST_PIXELS_BYTES = 16 << 20
"""Larger images are read again for a closer look, which small objects need."""


@dataclass(frozen=True)
class Look:
    """One image: its size in pixels, every box that the network gave, and its pixels unless they are many."""

    size: tuple[int, int]
    raw: RawBoxes
    pixels: Pixels | None

    @classmethod
    def of(cls, pixels: Pixels, raw: RawBoxes) -> "Look":
        height, width = pixels.shape[:2]
        return cls((width, height), raw, pixels if pixels.nbytes <= MOST_PIXELS_BYTES else None)

    @property
    def nbytes(self) -> int:
        return self.raw.nbytes + (0 if self.pixels is None else self.pixels.nbytes)


class LooksKept:
    """The last looks, by image and version. Any thread may ask. most_bytes: of all together."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._looks: OrderedDict[Hashable, Look] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def get(self, key: Hashable) -> Look | None:
        with self._lock:
            look = self._looks.get(key)
            if look is not None:
                self._looks.move_to_end(key)
            return look

    def keep(self, key: Hashable, look: Look) -> None:
        with self._lock:
            self._drop(key)
            self._looks[key] = look
            self._bytes += look.nbytes
            while self._bytes > self._most_bytes and self._looks:
                self._drop(next(iter(self._looks)))

    def _drop(self, key: Hashable) -> None:
        known = self._looks.pop(key, None)
        if known is not None:
            self._bytes -= known.nbytes
