"""The images of many tasks: located and decoded by a few threads, handed on in batches of bounded size."""

import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labelloop.batches import batches, weighed_batches
from labelloop.images import BATCH_PIXELS, ImageError, Pixels, image_size, read_image
from labelloop.labels import LabelConfig
from labelloop.remote_images import RemoteImages
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image

Task = dict[str, Any]

BATCH_IMAGES = 8
FEW = 4
DOWNLOADS_BUDGET_S = 60.0
REMOTE_S = 600.0
# What is decoded at once is bounded by BATCH_PIXELS already.
ALONE_FROM_BYTES = 256 << 20


@dataclass(frozen=True)
class TaskImage:
    """The image of one task: its pixels, or why there are none."""

    name: str
    pixels: Pixels | None = None
    error: str = ""


@dataclass(frozen=True)
class _Located:
    name: str
    source: Path | bytes
    pixels: int


class ImageLoader:
    """Reads tasks' images.

    workers: threads that read files, download and decode; shared by all requests.
    """

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings = settings
        self._remote = RemoteImages(settings.cache_dir, settings.outside)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
        self._one_large = threading.Lock()
        self._few = threading.BoundedSemaphore(FEW)

    def batches(
        self, tasks: Sequence[Task], config: LabelConfig, at_once: int = BATCH_IMAGES
    ) -> Iterator[list[TaskImage]]:
        """One TaskImage per task, in the tasks' order, in batches.

        The next batch is being decoded while the caller works on one, so up to two are in memory: each at
        most BATCH_IMAGES images, or `at_once` if that is more, and BATCH_PIXELS pixels. A larger image comes
        alone: of these, one is in memory for all requests together, until the caller asks for the next batch.
        """
        left_s = DOWNLOADS_BUDGET_S
        most = max(BATCH_IMAGES, at_once)
        ahead: list[Future[TaskImage]] = []
        for window in batches(tasks, 2 * most):
            began = time.monotonic()
            locate = partial(self._locate, config=config, deadline=began + left_s)
            located = list(self._pool.map(locate, window))
            left_s -= time.monotonic() - began
            for group in weighed_batches(located, most, _weight, BATCH_PIXELS):
                if _weight(group[0]) > BATCH_PIXELS:
                    if ahead:
                        yield [future.result() for future in ahead]
                        ahead = []
                    with self._one_large:
                        yield [_decode(group[0])]
                    continue
                decoding = [self._pool.submit(_decode, item) for item in group]
                if ahead:
                    yield [future.result() for future in ahead]
                ahead = decoding
        if ahead:
            yield [future.result() for future in ahead]

    @contextmanager
    def one(self, task: Task, config: LabelConfig) -> Iterator[TaskImage]:
        """A task's image, for the block. Of all that are in memory so, FEW are at most; a larger one than
        BATCH_PIXELS is alone, as in `batches`.
        """
        located = self._locate(task, config, time.monotonic() + DOWNLOADS_BUDGET_S)
        with self._room(_weight(located)):
            yield _decode(located)

    @contextmanager
    def given(self, content: bytes) -> Iterator[Pixels]:
        """An image that came with a request, as `one`. Raises ImageError: it cannot be read."""
        name = "the image"
        width, height = image_size(content, name)
        with self._room(width * height):
            yield read_image(content, name, ALONE_FROM_BYTES)

    def _room(self, pixels: int) -> AbstractContextManager[object]:
        return self._one_large if pixels > BATCH_PIXELS else self._few

    def stamp(self, task: Task, config: LabelConfig) -> Hashable:
        """What tells a task's image from every other one, without reading it.

        A file's place, size and time; another image's URL, for REMOTE_S seconds.

        Raises:
            ImageError, OSError: there is no such file.
        """
        url = config.image_of(task["data"])
        source = resolve_task_image(url, self._settings, task.get("id"), fetch=lambda *_: b"")
        if isinstance(source, bytes):
            return str(url), int(time.monotonic() // REMOTE_S)
        stat = source.stat()
        return str(source), stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _locate(self, task: Task, config: LabelConfig, deadline: float) -> _Located | TaskImage:
        url = config.image_of(task["data"])
        name = image_name(url)
        if url is None:
            return TaskImage(
                f"task {task.get('id')}",
                error=f"its data has no {config.data_key!r}, where the label config expects the image",
            )
        if time.monotonic() > deadline:
            return TaskImage(
                name,
                error=f"not read: {DOWNLOADS_BUDGET_S:.0f} s of this request went into finding other images",
            )
        task_id = task.get("id")
        try:
            number = task_id if isinstance(task_id, int) else None
            source = resolve_task_image(url, self._settings, number, self._remote)
            width, height = image_size(source, name)
        except (ImageError, OSError) as error:
            return TaskImage(name, error=_reason(name, error))
        return _Located(name, source, width * height)


def _weight(item: _Located | TaskImage) -> int:
    return item.pixels if isinstance(item, _Located) else 0


def _decode(item: _Located | TaskImage) -> TaskImage:
    if isinstance(item, TaskImage):
        return item
    try:
        return TaskImage(item.name, read_image(item.source, item.name, ALONE_FROM_BYTES))
    except (ImageError, OSError, MemoryError) as error:
        return TaskImage(item.name, error=_reason(item.name, error))


def _reason(name: str, error: Exception) -> str:
    """The error's words without the name that they begin with."""
    return str(error).removeprefix(f"{name}: ") or type(error).__name__
