"""Keeps what is kept of other servers' images within CACHE_GB.

Images that a round's snapshot names, or that versions have seen, stay: a round reads them again and again,
and later versions are scored on them. They may be more than CACHE_GB; `make doctor` tells.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ijson

from labelloop.files import Stamp, stamp_of
from labelloop.image_cache import ImageCache, Usage, names_in
from labelloop.settings import Settings
from trainer.rounds.folder import SEEN, SINCE, SNAPSHOT

SWEEP_EVERY_S = 86400.0


class CachedImages:
    """The cache, as the settings bound it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cache = ImageCache(settings.cache_dir)
        self._named: dict[Path, tuple[Stamp, frozenset[str]]] = {}
        self._looked_at: Stamp = None
        self._swept_at: float | None = None

    def tend(self) -> None:
        """Deletes what was used longest ago where there is too much. Raises OSError."""
        self._cache.take_over_former_index()
        now = stamp_of(self._cache.folder)
        if now != self._looked_at:
            left = self._cache.cut(self._settings.cache_bytes, self.needed)
            # What had to stay is looked at again, even if nothing comes.
            self._looked_at = now if left.size <= self._settings.cache_bytes else None
        if self._swept_at is None or time.monotonic() > self._swept_at + SWEEP_EVERY_S:
            self._cache.sweep()
            self._swept_at = time.monotonic()

    def usage(self) -> Usage:
        """What the cache holds now. Lists of images are read only where it is more than CACHE_GB, as it may
        take long: otherwise nothing counts as needed.
        """
        found = self._cache.usage()
        return self._cache.usage(self.needed()) if found.size > self._settings.cache_bytes else found

    def needed(self) -> frozenset[str]:
        """The names of the images that stay."""
        there = list(_lists(self._settings))
        self._named = {path: self._named[path] for path in there if path in self._named}
        for path in there:
            stamp = stamp_of(path)
            if path not in self._named or self._named[path][0] != stamp:
                self._named[path] = stamp, _names(path)
        return frozenset().union(*(names for _, names in self._named.values()))


def _lists(settings: Settings) -> Iterator[Path]:
    """The files that name images which are read again."""
    for name in (SNAPSHOT, SINCE):
        yield from settings.rounds_dir.glob(f"*/{name}")
    yield from settings.models_dir.glob(f"*/{SEEN}/*/{SNAPSHOT}")


def _names(path: Path) -> frozenset[str]:
    """The cached images that a file names. A damaged one, which no round reads either, names as far as it is
    whole.
    """
    found: set[str] = set()
    with suppress(FileNotFoundError, ijson.JSONError), path.open("rb") as file:
        found.update(names_in(ijson.items(file, "images.item.file_name")))
    return frozenset(found)
