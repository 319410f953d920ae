"""Signal handling for a simulation: it deletes what it has made before it ends, without interruption."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Makes SIGTERM raise KeyboardInterrupt."""

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignores Ctrl-C and SIGTERM. The process may get them twice, from the terminal and from `make`."""
    with _handling(ENDING, signal.SIG_IGN):
        yield


@contextmanager
def _handling(signals: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
