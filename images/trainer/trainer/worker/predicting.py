"""Predictions for many tasks, asked of the ML backend batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from labelloop.batches import batches
from trainer.peers.backend import Unread

Row = dict[str, Any]
Predictions = list[Row | Unread]

# The number of tasks per request for predicting, and per portion of predictions.
BATCH, PORTION = 16, 48
AT_ONCE = 2
"""So many requests at once: what comes before and after the model's work on one is done while it works on
another.
"""


def in_portions(
    ask: Callable[[Sequence[Row]], Predictions], tasks: Sequence[Row]
) -> Iterator[tuple[list[Row], list[Unread]]]:
    """Predictions for the tasks, in their order, PORTION by PORTION, and what could not be read of each. The
    next portion is asked for while the caller works on one.

    ask: of BATCH tasks, called on AT_ONCE threads. Raises: what `ask` raises, after which no more are asked.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="predict") as pool:
        before: list[Future[Predictions]] = []
        try:
            for portion in batches(tasks, PORTION):
                asked = [pool.submit(ask, batch) for batch in batches(portion, BATCH)]
                if before:
                    yield _sorted(before)
                before = asked
            if before:
                yield _sorted(before)
        finally:
            pool.shutdown(cancel_futures=True)


def _sorted(asked: Sequence[Future[Predictions]]) -> tuple[list[Row], list[Unread]]:
    made = [row for future in asked for row in future.result()]
    unread = [row for row in made if isinstance(row, Unread)]
    return [row for row in made if not isinstance(row, Unread)], unread
