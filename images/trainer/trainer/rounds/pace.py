"""How long a stretch of equal steps still takes, as soon as that can be told."""

from collections import deque

WARM_UP = 3
"""The first steps, which take several times as long as the others: caches are cold, memory is asked for."""
MEASURED = 15
"""So many steps after these tell something: a detector is trained at another image size every ten."""
WINDOW = 100


class Pace:
    """Measures steps. Nothing is told of what was not measured.

    >>> pace = Pace(warm_up=1, measured=2)
    >>> for moment in (0.0, 60.0, 61.0):
    ...     pace.step(moment)
    >>> pace.left(10) is None
    True
    >>> pace.step(62.0)
    >>> pace.left(10)
    10.0
    """

    def __init__(self, warm_up: int = WARM_UP, measured: int = MEASURED) -> None:
        self._warm_up = warm_up
        self._measured = measured
        self._seen: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)
        self._steps = -1

    def step(self, moment: float, done: int | None = None) -> None:
        """Notes that a step is done. The first call is the beginning.

        moment: in seconds, of any clock. done: how much is done by now, where steps are not equal.
        """
        self._steps += 1
        if self._steps >= self._warm_up:
            self._seen.append((moment, self._steps if done is None else done))

    def left(self, amount: int) -> float | None:
        """The seconds that so much more takes, by the mean of the newest steps; None before it is known."""
        if amount == 0:
            return 0.0
        if len(self._seen) - 1 < self._measured:
            return None
        (began, before), (ended, done) = self._seen[0], self._seen[-1]
        return (ended - began) / (done - before) * amount if done > before else None
