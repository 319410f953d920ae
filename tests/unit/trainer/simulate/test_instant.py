"""How often the stack learns at once beside a simulated person."""

from collections.abc import Iterator

import pytest

from trainer.simulate import instant as module
from trainer.simulate.errors import OptionError
from trainer.simulate.instant import Instant
from trainer.simulate.options import image_count


class Learning:
    """Learns for so many seconds of a clock that nobody waits for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
        self._seconds: Iterator[float] = iter(seconds)
        self._now, self.times = 0.0, 0
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self._now

    def __call__(self) -> None:
        self.times += 1
        self._now += next(self._seconds)


def test_it_learns_while_the_person_works_at_the_next_image(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = Learning(monkeypatch, 10.0, 12.0, 9.0)
    instant = Instant(learning, images=40)
    for submitted in range(4):
        instant.meanwhile(submitted, work_s=30.0)
    assert learning.times == 3, "nothing is submitted while she works at the first"
    assert instant.seconds == [10.0, 12.0, 9.0]


def test_a_person_who_is_quicker_than_it_gets_boxes_that_are_further_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes 10 s, she 4 s an image: it has learnt after her third."""
    learning = Learning(monkeypatch, *[10.0] * 9)
    instant = Instant(learning, images=40)
    learnt = []
    for submitted in range(1, 9):
        instant.meanwhile(submitted, work_s=4.0)
        learnt.append(learning.times)
    assert learnt == [1, 1, 1, 2, 2, 2, 3, 3]


def test_it_is_played_on_as_many_images_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = Learning(monkeypatch, *[1.0] * 9)
    instant = Instant(learning, images=4)
    for submitted in range(9):
        instant.meanwhile(submitted, work_s=30.0)
    assert learning.times == 3
    assert image_count("4", "AT_ONCE") == 4
    assert image_count("all", "AT_ONCE") > 10**9
    with pytest.raises(OptionError, match="AT_ONCE=few: needed a number of images, 0 for none, or all"):
        image_count("few", "AT_ONCE")
