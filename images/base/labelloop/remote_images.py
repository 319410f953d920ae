"""Fetches images of other servers through the cache: each once while it is kept, and again when it changed.

A server is asked whether an image has changed when it was last asked FRESH_S ago. One that gives neither ETag
nor Last-Modified sends all of it then, and so is asked UNSTAMPED_S after the last time. A download that
breaks off is taken up where it ended, if the server can, at once and by whoever asks for the image next.
"""

import logging
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

from labelloop.download import DEADLINE_S, BrokenOff, Fetched, Stamp, fetch
from labelloop.image_cache import ImageCache, Kept, key_of
from labelloop.images import SUFFIX_OF, SUFFIXES, ImageAway, ImageError, image_format, image_size
from labelloop.outside import Outside
from labelloop.urls import shown

log = logging.getLogger(__name__)

FRESH_S = 600.0
UNSTAMPED_S = 86400.0
FAILURES_IN_A_ROW = 5
HOST_REST_S = 30.0
"""A host that has failed FAILURES_IN_A_ROW times in a row is left alone for so long."""
FIRST_PAUSE_S = 0.5
TURN_S = 2 * DEADLINE_S


class RemoteImages:
    """Fetches images as `task_images.Fetch` says, through the cache. Threads may share it.

    cache_dir: volumes/cache. Where it cannot be written, images are fetched and not kept.
    """

    def __init__(self, cache_dir: Path, outside: Outside) -> None:
        self.cache = ImageCache(cache_dir)
        self._outside = outside
        self._hosts = _Hosts()

    def ask_again(self) -> None:
        """Has hosts asked again that have failed."""
        self._hosts.forget()

    def __call__(self, url: str, trusted: str, token: str | None) -> Path | bytes:
        """The file with the image's bytes, or the bytes of something that is no image, or cannot be kept.

        Where the image is away, and was had before, the bytes of then are taken.

        Raises:
            ImageError, ImageAway: as `download.fetch` does.
        """
        try:
            return self._through_cache(url, trusted, token)
        except OSError as error:
            log.warning("%s: %s is not kept: %s", self.cache.folder, shown(url), error)
            content = self._ask(url, trusted, token, None).content
            assert content is not None, "only a request with a stamp is answered without"
            return content

    def keep(self, content: bytes, url: str) -> Path:
        """The file of the cache with an image's bytes. url: where they are from. Raises OSError."""
        suffix = Path(urlsplit(url).path).suffix.lower()
        return self.cache.keep(content, suffix if suffix in SUFFIXES else _suffix_of(content))

    def _through_cache(self, url: str, trusted: str, token: str | None) -> Path | bytes:
        key = key_of(url)
        kept = self.cache.find(key)
        if kept is not None and _is_fresh(kept):
            return kept.file
        with self.cache.only_one(key, TURN_S) as our_turn:
            kept = self.cache.find(key)
            if kept is not None and _is_fresh(kept):
                return kept.file
            if not our_turn:
                raise ImageAway(f"{shown(url)}: another process has asked for it, without an answer so far")
            return self._fetched(url, trusted, token, key, kept)

    def _fetched(
        self, url: str, trusted: str, token: str | None, key: str, kept: Kept | None
    ) -> Path | bytes:
        asked_at = time.time()
        try:
            fetched = self._ask(url, trusted, token, kept.stamp if kept else None, key)
        except ImageAway as away:
            if kept is None:
                raise
            log.warning("%s; the bytes that were had before are used", away)
            return kept.file
        if fetched.content is None:
            assert kept is not None, "without a stamp nothing is unchanged"
            with suppress(OSError):  # on a full disk the server is asked again the next time
                self.cache.note(key, Kept(kept.file, kept.stamp, asked_at))
            return kept.file
        try:
            image_size(fetched.content, shown(url))
        except ImageError:
            return fetched.content
        try:
            file = self.keep(fetched.content, url)
            self.cache.note(key, Kept(file, fetched.stamp, asked_at))
        except OSError as error:
            log.warning("%s: %s is not kept: %s", self.cache.folder, shown(url), error)
            return fetched.content
        return file

    def _ask(
        self, url: str, trusted: str, token: str | None, known: Stamp | None, key: str | None = None
    ) -> Fetched:
        """Asks, and takes up again what breaks off, after longer and longer pauses, within DEADLINE_S.

        key: where parts are kept; None: nowhere.
        """
        host = urlsplit(url).netloc
        self._hosts.require_up(host, url)
        until, pause = time.monotonic() + DEADLINE_S, FIRST_PAUSE_S
        part = self.cache.part(key) if key else None
        while True:
            try:
                fetched = fetch(url, trusted, token, self._outside, known, part=part)
                break
            except BrokenOff as broken:
                part = broken.part
                if key:
                    self.cache.keep_part(key, part)
                if time.monotonic() + pause > until:
                    self._hosts.failed(host)
                    raise
                time.sleep(pause)
                pause *= 2
            except ImageAway:
                self._hosts.failed(host)
                raise
            except ImageError:
                self._hosts.answered(host)
                raise
        self._hosts.answered(host)
        if key and part:
            self.cache.keep_part(key, None)
        return fetched


def _suffix_of(content: bytes) -> str:
    """The suffix of an image whose URL tells none, as those that lead to a bucket; empty for another kind."""
    try:
        return SUFFIX_OF.get(image_format(content), "")
    except ImageError:
        return ""


def _is_fresh(kept: Kept) -> bool:
    """Whether the server need not be asked. After the clock was set back, it is asked."""
    stamped = kept.stamp.etag or kept.stamp.last_modified
    return 0 <= time.time() - kept.asked_at < (FRESH_S if stamped else UNSTAMPED_S)


class _Hosts:
    """Which hosts have failed, how often in a row, and when last."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}
        self._lock = Lock()

    def require_up(self, host: str, url: str) -> None:
        """Raises ImageAway for a host that is left alone for now."""
        with self._lock:
            count, last = self._failures.get(host, (0, 0.0))
        if count >= FAILURES_IN_A_ROW and time.monotonic() < last + HOST_REST_S:
            raise ImageAway(
                f"{shown(url)}: not asked for, as {host} has failed {FAILURES_IN_A_ROW} times in a row"
            )

    def failed(self, host: str) -> None:
        with self._lock:
            count, _ = self._failures.get(host, (0, 0.0))
            self._failures[host] = count + 1, time.monotonic()

    def answered(self, host: str) -> None:
        with self._lock:
            self._failures.pop(host, None)

    def forget(self) -> None:
        with self._lock:
            self._failures.clear()
