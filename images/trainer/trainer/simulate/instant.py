"""What learns from each submitted image at once, played beside a person who takes her time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Instant:
    """Lets the stack learn while the person works at the next image, as often as it would keep up with her.

    A simulated person needs no time. So she waits until it has learnt, and the seconds that this takes are
    held against those that she would have worked: what was learnt from an image shows on the next but one at
    the earliest, and where learning takes longer than she does, it happens more rarely.

    learn: has it learn from all that is submitted, and show the boxes on the next tasks. images: it is played
    on so many images of a run, since it takes its time. seconds: what learning took, each time.
    """

    learn: Callable[[], object]
    images: int
    seconds: list[float] = field(default_factory=list)
    _worked_s: float = 0.0

    def meanwhile(self, submitted: int, work_s: float) -> None:
        """To be called when an image is corrected and not submitted yet. submitted: the images before it.
        work_s: the seconds that a person would have worked at it.
        """
        if not submitted or submitted >= self.images:
            return
        self._worked_s += work_s
        if self.seconds and self._worked_s < self.seconds[-1]:
            return
        self._worked_s = 0.0
        began = time.monotonic()
        self.learn()
        self.seconds.append(time.monotonic() - began)
