"""What ten million images and a hundred GPUs cost: two models that can be checked by hand, and their tables.

python -m bench.ten_million        prints the tables of docs/explanation/ten-million-images.md
"""

import heapq
import math
from collections.abc import Iterator

import numpy as np

BATCH = 16
"""Tasks in a request for boxes, as in trainer.worker.predicting."""
POOL = 1_000_000
"""Tasks in the model of the order; its outcome depends on shares of it alone."""


def images_a_second(gpus: int, of_a_gpu: float, stored: float, in_flight: int, requests: int = 4000) -> float:
    """Plays pre-labelling: requests go to GPUs that are free, and what they answer is stored, one at a time.

    of_a_gpu, stored: images a second that one GPU makes boxes of, and that the database takes. in_flight: so
    many requests are under way at once, from their beginning until their boxes are stored. A GPU's times vary
    as those of calls on a telephone do (exponentially): some images have to be fetched, some are large.
    """
    looking = np.random.default_rng(0).exponential(BATCH / of_a_gpu, requests)
    begun = ended = seen = 0
    idle, storing, now = gpus, False, 0.0
    events: list[tuple[float, str]] = []
    while ended < requests:
        waiting = min(in_flight - (begun - ended), idle, requests - begun)
        for duration in looking[begun : begun + waiting]:
            heapq.heappush(events, (now + duration, "seen"))
        begun, idle = begun + waiting, idle - waiting
        if seen and not storing:
            heapq.heappush(events, (now + BATCH / stored, "stored"))
            seen, storing = seen - 1, True
        now, what = heapq.heappop(events)
        if what == "seen":
            seen, idle = seen + 1, idle + 1
        else:
            ended, storing = ended + 1, False
    return float(requests * BATCH / now)


def at_most(gpus: int, of_a_gpu: float, stored: float, in_flight: int) -> float:
    """What `images_a_second` can't exceed for long: the GPUs, the database, and what is under way."""
    round_trip = BATCH / of_a_gpu + BATCH / stored
    return min(gpus * of_a_gpu, stored, in_flight * BATCH / round_trip)


def share_met(looked_at: float, wanted: float, correlation: float, seed: int = 0) -> float:
    """Of the tasks that the newest model would have people see first, the share that it has looked at, when
    it looked first at those that the model before it put first.

    looked_at: the share of all tasks that it came to. wanted: the share that people label meanwhile.
    correlation: of the two models' scores.
    """
    rng = np.random.default_rng(seed)
    former = rng.standard_normal(POOL)
    newest = correlation * former + math.sqrt(1 - correlation**2) * rng.standard_normal(POOL)
    first = np.argpartition(newest, round(wanted * POOL))[: round(wanted * POOL)]
    limit = np.quantile(former, looked_at)
    return float(np.mean(former[first] <= limit))


def gpu_table() -> Iterator[str]:
    """Images a second by GPUs, requests under way, and what the database takes. A GPU: 300 a second."""
    yield "| GPUs | under way | stored/s | images/s | at most |"
    yield "|---:|---:|---:|---:|---:|"
    for gpus, in_flight, stored in (
        *((1, 2, 775.0), (2, 2, 775.0), (100, 2, 775.0)),
        *((3, 6, 775.0), (100, 200, 775.0), (100, 200, 30000.0)),
    ):
        played = images_a_second(gpus, 300.0, stored, in_flight)
        most = at_most(gpus, 300.0, stored, in_flight)
        yield f"| {gpus} | {in_flight} | {stored:,.0f} | {played:,.0f} | {most:,.0f} |"


def order_table() -> Iterator[str]:
    """The share met, by the share looked at before the next promotion and the correlation of the scores."""
    yield "| looked at | 0.5 | 0.8 | 0.95 |"
    yield "|---:|---:|---:|---:|"
    for looked_at in (0.001, 0.01, 0.05, 0.25, 1.0):
        shares = (share_met(looked_at, 0.00012, correlation) for correlation in (0.5, 0.8, 0.95))
        yield f"| {looked_at:.1%} | {' | '.join(f'{share:.0%}' for share in shares)} |"


if __name__ == "__main__":
    for table in (gpu_table, order_table):
        print("\n".join(table()), end="\n\n")
