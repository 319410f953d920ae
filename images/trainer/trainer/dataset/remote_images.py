"""Images that a snapshot downloads: each once, and again only when it has changed.

The bytes are in volumes/cache/images, by their SHA-256. Beside them is an index of what was had from which
URL, and what the server said with it.
"""

import hashlib
import logging
import sqlite3
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from labelloop.download import Fetched, Stamp, fetch
from labelloop.files import write_bytes
from labelloop.images import SUFFIXES, ImageAway, ImageError, image_size
from labelloop.outside import Outside
from labelloop.urls import shown
from trainer.system.database import reading, set_aside, writing

log = logging.getLogger(__name__)

INDEX = "index.sqlite3"
FAILURES_IN_A_ROW = 5

# url: the SHA-256 of the URL, which may hold a key. file: the name of the file with the bytes. origin: a
# hash of the server and the path that answered, in rows of earlier releases the server.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS had (
    url TEXT PRIMARY KEY, file TEXT NOT NULL, size INTEGER NOT NULL,
    origin TEXT NOT NULL, etag TEXT NOT NULL, last_modified TEXT NOT NULL
) WITHOUT ROWID
"""


class RemoteImages:
    """Fetches images as `task_images.Fetch` says, through the cache.

    A host that fails FAILURES_IN_A_ROW times in a row is not asked again before `ask_again`.
    """

    def __init__(self, cache_dir: Path, outside: Outside) -> None:
        self._outside = outside
        self._folder = cache_dir / "images"
        self._index = self._folder / INDEX
        self._failures: Counter[str] = Counter()
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError:
            set_aside(self._index)
            self._create()

    def _create(self) -> None:
        with writing(self._index) as connection:
            connection.execute(_SCHEMA)

    def ask_again(self) -> None:
        """Has hosts asked again that have failed."""
        self._failures.clear()

    def __call__(self, url: str, trusted: str, token: str | None) -> Path | bytes:
        """The file with the image's bytes, or the bytes of something that is no image.

        Where the image is away, and was had before, the bytes of then are taken.

        Raises:
            ImageError, ImageAway: as `download.fetch` does.
        """
        key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        file, known = self._known(key) or (None, None)
        try:
            fetched = self._ask(url, trusted, token, known)
        except ImageAway as away:
            if file is None:
                raise
            log.warning("%s; the bytes that were had before are used", away)
            return file
        if fetched.content is None:
            assert file is not None, "without a stamp nothing is unchanged"
            return file
        try:
            image_size(fetched.content, shown(url))
        except ImageError:
            return fetched.content
        path = self.keep(fetched.content, url)
        self._note(key, path.name, len(fetched.content), fetched.stamp)
        return path

    def keep(self, content: bytes, url: str) -> Path:
        """The file of the cache with an image's bytes. url: where they are from."""
        suffix = Path(urlsplit(url).path).suffix.lower()
        name = hashlib.sha256(content).hexdigest() + (suffix if suffix in SUFFIXES else "")
        path = self._folder / name
        if not path.exists() or path.stat().st_size != len(content):
            write_bytes(path, content)
        return path

    def _note(self, key: str, name: str, size: int, stamp: Stamp) -> None:
        row = (key, name, size, stamp.place, stamp.etag, stamp.last_modified)
        with writing(self._index) as connection:
            connection.execute("INSERT OR REPLACE INTO had VALUES (?, ?, ?, ?, ?, ?)", row)

    def _known(self, key: str) -> tuple[Path, Stamp] | None:
        """The file that was had from a URL, if it is still there, and what the server said with it."""
        with reading(self._index) as connection:
            row = connection.execute("SELECT * FROM had WHERE url = ?", (key,)).fetchone()
        if row is None:
            return None
        file = self._folder / row["file"]
        if not file.is_file() or file.stat().st_size != row["size"]:
            return None
        return file, Stamp(row["origin"], row["etag"], row["last_modified"])

    def _ask(self, url: str, trusted: str, token: str | None, known: Stamp | None) -> Fetched:
        host = urlsplit(url).netloc
        if self._failures[host] >= FAILURES_IN_A_ROW:
            raise ImageAway(
                f"{shown(url)}: not asked for, as {host} has failed {FAILURES_IN_A_ROW} times in a row"
            )
        try:
            fetched = fetch(url, trusted, token, self._outside, known)
        except ImageAway:
            self._failures[host] += 1
            raise
        self._failures[host] = 0
        return fetched
