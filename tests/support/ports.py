"""Ports of 127.0.0.1 for programs that a test starts."""

import os
import random
import socket
from contextlib import ExitStack

# Below those that the system lends to whoever connects somewhere: none of these is taken between finding a
# port and listening on it. Each of pytest's workers has a share, so no two of them find the same.
_FIRST, _LAST = 20_000, 32_000
_SHARES = 8
_given: set[int] = set()


def free_port(count: int = 1) -> int:
    """The first of `count` ports in a row on which nothing listens. None is given twice in one process.

    Raises:
        RuntimeError: there are none.
    """
    shares = (_LAST - _FIRST) // _SHARES
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + worker % _SHARES * shares
    for port in random.sample(range(first, first + shares - count + 1), shares - count + 1):
        wanted = set(range(port, port + count))
        if not wanted & _given and all(map(_is_free, wanted)):
            _given.update(wanted)
            return port
    raise RuntimeError(
        f"none of the ports between {first} and {first + shares} on 127.0.0.1 has {count} free in a row"
    )


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        probe = stack.enter_context(socket.socket())
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
