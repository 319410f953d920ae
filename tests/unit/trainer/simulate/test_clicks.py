"""Where a simulated person clicks, and what she makes of what comes."""

from dataclasses import replace

import numpy as np
import pytest

from labelloop.boxes import Boxes, Floats
from trainer.judging.effort import CAREFUL, QUICK, Work
from trainer.simulate.clicks import Click, Experience, fetch, points
from trainer.simulate.errors import OptionError
from trainer.simulate.options import Person

QUICKLY, CAREFULLY = Person.of("quick"), Person.of("careful")
TEN = Boxes.of([[100 * n, 0, 100 * n + 80, 80] for n in range(10)], [1.0] * 10, [n % 3 for n in range(10)])


class Editor:
    """Answers each click with its object, cut to a share of it, by how often it was clicked there before."""

    def __init__(self, truth: Boxes, *shares: float) -> None:
        self._truth, self._shares = truth, shares
        self.asked: list[Click] = []

    def __call__(self, click: Click) -> Floats:
        self.asked.append(click)
        middles = (self._truth.xyxy[:, :2] + self._truth.xyxy[:, 2:]) / 2
        corners = self._truth.xyxy[int(np.abs(middles - click.at).sum(axis=1).argmin())].copy()
        corners[3] = 80 * self._shares[click.again]
        return corners

    @property
    def times(self) -> list[int]:
        """How many first, second … clicks there were."""
        again = [click.again for click in self.asked]
        return [again.count(number) for number in range(max(again, default=-1) + 1)]


def clicked(person: Person, *shares: float) -> tuple[Work, Editor, Experience]:
    editor, experience = Editor(TEN, *shares), Experience()
    at = points(TEN, 0, "a.jpg")
    return fetch(TEN, range(10), at, editor, person, experience), editor, experience


def test_a_right_box_takes_a_click_and_a_look() -> None:
    work, editor, experience = clicked(QUICKLY, 0.7)
    assert work == Work(clicked=10)
    assert editor.times == [10]
    assert [click.label for click in editor.asked] == TEN.labels.tolist()
    assert work.seconds(QUICK) == pytest.approx(24.0)
    assert work.seconds(CAREFUL) == pytest.approx(36.0)
    assert (experience.tried, experience.right) == ([10], [10])


def test_clicking_again_takes_another_click_and_another_look() -> None:
    work, editor, _ = clicked(replace(QUICKLY, draw=60.0), 0.3, 0.4, 0.9)
    assert work == Work(clicked=10, reclicked=20)
    assert editor.times == [10, 10, 10]
    assert work.seconds(QUICK) == pytest.approx(10 * 3 * 2.4)


def test_a_loose_box_is_adjusted_where_that_is_quicker_than_another_click() -> None:
    """With chances of two in three another click takes 3.9 s by the quick table, and adjusting 3.5."""
    work, editor, _ = clicked(QUICKLY, 0.6, 1.0)
    assert work == Work(click_adjusted=10)
    assert editor.times == [10]
    assert work.seconds(QUICK) == pytest.approx(10 * (1.9 + 3.5))


def test_what_no_click_fetches_is_deleted_and_drawn() -> None:
    """She doesn't learn from it here, since drawing takes a minute."""
    work, _, _ = clicked(replace(QUICKLY, draw=60.0), 0.1, 0.2, 0.3)
    assert work == Work(click_drawn=10, reclicked=20)
    assert (work.truths, work.clicks, work.proposed) == (10, 30, 0)
    # three clicks, a look at the first two boxes, the third deleted, and a box drawn
    assert work.seconds(QUICK) == pytest.approx(10 * (3 * 1.9 + 2 * 0.5 + 1.0 + 7.0))
    assert work.share_saved(QUICK) < 0


def test_whoever_clicks_in_vain_soon_draws_until_the_next_version() -> None:
    """With the careful table a click has to be right in more than half of the cases to be worth it."""
    work, editor, experience = clicked(CAREFULLY, 0.1, 0.1, 0.1)
    assert 2 <= work.click_drawn <= 4 and work.drawn == 10 - work.click_drawn
    at = points(TEN, 0, "a.jpg")
    assert fetch(TEN, range(10), at, editor, CAREFULLY, experience) == Work(drawn=10)
    anew = experience.carried_on(version_changed=True)
    assert fetch(TEN, range(10), at, editor, CAREFULLY, anew).click_drawn == work.click_drawn


def test_another_version_is_tried_anew_but_not_with_clicks_for_sizes_that_never_came() -> None:
    """She tries three objects of each version. That second and third clicks fail she knows after five."""
    editor, experience, at = Editor(TEN, 0.1, 0.1, 0.1), Experience(), points(TEN, 0, "a.jpg")
    for _ in range(3):
        fetch(TEN, range(10), at, editor, CAREFULLY, experience)
        assert experience.tried[0] == 3
        kept = experience.carried_on(version_changed=False)
        assert fetch(TEN, range(10), at, editor, CAREFULLY, kept) == Work(drawn=10)
        experience = experience.carried_on(version_changed=True)
    assert editor.times == [9, 5, 5]


def test_the_stack_is_told_what_the_image_has_already() -> None:
    """Seven boxes were proposed. The one that is done last is not saved when the next is clicked."""
    editor = Editor(TEN, 1.0)
    fetch(TEN, [2, 5, 8], points(TEN, 0, "a.jpg"), editor, QUICKLY, Experience())
    assert [len(click.there) for click in editor.asked] == [7, 7, 8]
    assert editor.asked[-1].there.xyxy[-1].tolist() == TEN.xyxy[2].tolist()


def test_a_person_without_clicks_asks_for_nothing() -> None:
    work, editor, _ = clicked(Person(clicks=0), 1.0)
    assert work == Work(drawn=10) and editor.asked == []
    with pytest.raises(OptionError, match="CLICKS=-1: needed a number of clicks"):
        Person(clicks=-1)


def test_nothing_lacks_so_nothing_is_clicked() -> None:
    editor = Editor(TEN, 1.0)
    assert fetch(TEN, [], points(TEN, 0, "a"), editor, QUICKLY, Experience()) == Work()
    assert editor.asked == []


def test_the_places_are_around_the_middle_on_the_object_and_the_same_every_time() -> None:
    many = Boxes.of([[0, 0, 100, 40]] * 2000, [1.0] * 2000, [0] * 2000)
    at = points(many, 3, "a.jpg")
    assert at.mean(axis=0) == pytest.approx([50, 20], abs=1)
    assert at.std(axis=0) == pytest.approx([8, 3.2], rel=0.1)
    assert (at > 0).all() and (at < [100, 40]).all()
    assert np.array_equal(at, points(many, 3, "a.jpg"))
    assert not np.array_equal(at, points(many, 4, "a.jpg"))
    assert not np.array_equal(at, points(many, 3, "b.jpg"))
