"""Slows down the guessing of passwords."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

WINDOW_S = 60.0
PER_USER, PER_ADDRESS = 5, 20


class Throttle:
    """Limits login attempts within WINDOW_S seconds to PER_USER per name and PER_ADDRESS per address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def attempt(self, user: str, address: str) -> float:
        """Counts an attempt if it is allowed, and returns 0.0; else returns the seconds until it will be."""
        keys = {("user", user.lower()): PER_USER, ("address", address): PER_ADDRESS}
        with self._lock:
            self._forget()
            wait_s = max(self._wait_s(key, allowed) for key, allowed in keys.items())
            if wait_s == 0.0:
                for key in keys:
                    self._attempts[key].append(self._clock())
            return wait_s

    def succeeded(self, user: str, address: str) -> None:
        """Forgets all attempts of the name, but only this one of the address, which people behind a proxy
        share.
        """
        with self._lock:
            self._attempts.pop(("user", user.lower()), None)
            if self._attempts.get(("address", address)):
                self._attempts[("address", address)].pop()

    def _wait_s(self, key: tuple[str, str], allowed: int) -> float:
        times = self._attempts.get(key, ())
        return times[-allowed] + WINDOW_S - self._clock() if len(times) >= allowed else 0.0

    def _forget(self) -> None:
        """Drops attempts that no longer count, so that guessing cannot fill the memory."""
        oldest = self._clock() - WINDOW_S
        for key, times in list(self._attempts.items()):
            while times and times[0] <= oldest:
                times.popleft()
            if not times:
                del self._attempts[key]
