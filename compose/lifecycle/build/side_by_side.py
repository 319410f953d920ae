"""Steps of a build that run at once: what waits for the network, beside what compiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from lifecycle.console import line, note

HEARTBEAT_S = 20.0


@dataclass(frozen=True)
class Step:
    """name, doing: what the operator reads. seconds: how long it takes on 2 cores, when it is alone.

    run: does it; it prints whole lines only, since others print beside it. after: the steps that it needs;
    one that isn't among the steps is done already.
    """

    name: str
    doing: str
    seconds: float
    run: Callable[[], object]
    after: tuple[str, ...] = ()


def run_steps(steps: Sequence[Step], heartbeat_s: float = HEARTBEAT_S) -> None:
    """Runs each step as soon as those that it needs are done. Says what begins and how long that takes, and
    every so many seconds what is at work.

    None begins after a failure. When those at work are done, what the first failed step raised is raised.
    """
    if not steps:
        return
    names = {step.name for step in steps}
    begun: dict[str, tuple[float, Future[object]]] = {}
    with ThreadPoolExecutor(len(steps)) as pool:
        told = time.monotonic()
        while True:
            futures = {name: future for name, (_, future) in begun.items()}
            failed = any(future.done() and future.exception() for future in futures.values())
            for step in steps:
                needs = [futures.get(name) for name in step.after if name in names]
                ready = all(future is not None and future.done() for future in needs)
                if step.name not in begun and ready and not failed:
                    line(step.name, f"{step.doing}, about {words(step.seconds)}")
                    begun[step.name] = (time.monotonic(), pool.submit(step.run))
            at_work = {name: future for name, (_, future) in begun.items() if not future.done()}
            if not at_work and (failed or len(begun) == len(steps)):
                break
            wait(at_work.values(), timeout=min(1.0, heartbeat_s), return_when="FIRST_COMPLETED")
            if time.monotonic() - told >= heartbeat_s and at_work:
                told = time.monotonic()
                note(f"at work: {_progress(steps, begun)}")
    for step in steps:
        if step.name in begun:
            begun[step.name][1].result()


def words(seconds: float) -> str:
    """A time that is expected, as one says it: 40 s, 3 minutes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"


def _progress(steps: Sequence[Step], begun: dict[str, tuple[float, Future[object]]]) -> str:
    now = time.monotonic()
    at_work = [step for step in steps if step.name in begun and not begun[step.name][1].done()]
    told = (
        f"{step.name}, {step.doing} ({now - begun[step.name][0]:.0f} s of about {words(step.seconds)})"
        for step in at_work
    )
    return "; ".join(told)
