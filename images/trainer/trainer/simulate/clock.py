"""Where a simulation's time goes."""

import time


class Clock:
    """Adds up the seconds of a step by what they were spent on."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._lap_at = time.monotonic()

    def lap(self, on: str) -> float:
        """Notes that the time since the last call went into `on`. Returns: its seconds."""
        now = time.monotonic()
        seconds, self._lap_at = now - self._lap_at, now
        self._spent[on] = self._spent.get(on, 0.0) + seconds
        return seconds

    def take(self) -> dict[str, float]:
        """The seconds by what they were spent on, since the last call."""
        spent, self._spent = self._spent, {}
        return spent
