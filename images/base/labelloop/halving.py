"""Batches of a size that the GPU's memory holds: by what is free of it, and halved when it runs out."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from labelloop.errors import Explained

T = TypeVar("T")
Found = TypeVar("Found")

log = logging.getLogger(__name__)

# On a CPU a larger batch is no faster and takes more memory.
ON_A_CPU = 4
LEAST, MOST = 4, 64
# What an image may take in a large detector's forward pass.
BYTES_PER_IMAGE = 512 << 20


class OutOfMemory(Explained):
    """The GPU's memory does not hold what cannot be made smaller. what: this."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the GPU's memory does not hold {what}: end what else uses the GPU, or choose a smaller DETECTOR"
        )


def size_for(free_bytes: int) -> int:
    """How many images to begin with: a power of two.

    >>> [size_for(gb << 30) for gb in (1, 6, 11, 140)]
    [4, 8, 16, 64]
    """
    fitting = max(LEAST, min(free_bytes // BYTES_PER_IMAGE, MOST))
    return 1 << (fitting.bit_length() - 1)


class BatchSize:
    """How many images go through a model at once. given: by default what the device's free memory holds."""

    def __init__(self, given: int | None = None) -> None:
        self._size = given

    def on(self, device: Any) -> int:
        """device: the torch.device of the model."""
        if self._size is None:
            self._size = ON_A_CPU if device.type == "cpu" else _by_free_memory(device)
        return self._size

    def halve(self, failed: int) -> None:
        """failed: the size of the batch that did not fit. Raises OutOfMemory: it was one image."""
        if failed <= 1:
            raise OutOfMemory("one image")
        self._size = failed // 2
        log.warning("the GPU's memory does not hold %d images at once: %d from now on", failed, self._size)


def in_batches(
    items: Sequence[T], size: BatchSize, device: Any, run: Callable[[Sequence[T]], Found]
) -> Iterator[tuple[Sequence[T], Found]]:
    """The items in their order, in batches, each with what `run` gives for it. A batch for which the GPU's
    memory does not suffice is tried again in halves.

    Raises:
        OutOfMemory: it does not suffice for one item.
    """
    import torch

    start = 0
    while start < len(items):
        batch = items[start : start + size.on(device)]
        try:
            found = run(batch)
        except torch.OutOfMemoryError:
            pass  # Outside of this block, nothing of the failed pass is kept alive by its traceback.
        else:
            yield batch, found
            start += len(batch)
            continue
        size.halve(len(batch))
        torch.cuda.empty_cache()


def _by_free_memory(device: Any) -> int:
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return size_for(free)
