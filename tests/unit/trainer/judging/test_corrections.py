"""What a person does with the boxes that are proposed, and what each of them adds to that."""

import time

import numpy as np
import pytest

from labelloop.boxes import Boxes
from trainer.judging.corrections import added, correct
from trainer.judging.effort import CAREFUL, QUICK, TABLES, Costs, Work

BALL, CRATE = 0, 1


def boxes(*rows: tuple[list[int], float, int]) -> Boxes:
    xyxy, scores, labels = zip(*rows, strict=True)
    return Boxes.of(xyxy, scores, labels)


TRUTH = boxes(
    ([0, 0, 100, 100], 1.0, BALL), ([200, 0, 300, 100], 1.0, BALL), ([200, 200, 300, 300], 1.0, CRATE)
)


def test_each_box_adds_what_is_done_with_it() -> None:
    found = boxes(
        ([0, 0, 100, 90], 0.9, BALL),
        ([0, 0, 100, 60], 0.8, BALL),
        ([200, 0, 300, 65], 0.7, BALL),
        ([200, 200, 300, 300], 0.6, BALL),
        ([0, 300, 90, 390], 0.5, CRATE),
    )
    accept, delete, adjust, relabel = 0.5 - 7, 1.0, 3.5 - 7, 3.5 - 7
    assert added(found, TRUTH, QUICK).tolist() == [accept, delete, adjust, relabel, delete]
    assert added(found, TRUTH, CAREFUL).tolist() == pytest.approx([1.7 - 7, 2.0, 4.5 - 7, 3.0 - 7, 2.0])


def test_a_better_box_beneath_saves_what_it_is_better_by() -> None:
    """The upper one is moved, or relabelled; with the lower one there it is deleted."""
    loose = boxes(([0, 0, 100, 60], 0.9, BALL), ([0, 0, 100, 100], 0.3, BALL))
    assert added(loose, TRUTH, QUICK).tolist() == [3.5 - 7, 0.5 + 1 - 3.5]
    other = boxes(([0, 0, 100, 100], 0.3, BALL), ([0, 0, 100, 100], 0.9, CRATE))
    assert added(other, TRUTH, QUICK).tolist() == [0.5 + 1 - 3.5, 3.5 - 7]


def test_two_boxes_on_two_objects_are_paired_the_way_that_takes_the_least_time() -> None:
    """The upper box lies better on the first object, but the lower one lies on no other."""
    truth = boxes(([0, 0, 100, 100], 1.0, BALL), ([20, 0, 120, 100], 1.0, BALL))
    found = boxes(([8, 0, 108, 100], 0.9, BALL), ([0, 0, 80, 100], 0.5, BALL))
    assert correct(found, truth, QUICK) == Work(accepted=2)
    assert added(found, truth, QUICK).tolist() == [0.5 - 7, 0.5 - 7]


@pytest.mark.parametrize("costs", [*TABLES.values(), CAREFUL.with_clicks()])
def test_what_boxes_add_from_any_score_on_is_what_correcting_them_takes(costs: Costs) -> None:
    draw = np.random.default_rng(4)
    for _ in range(20):
        corners = draw.uniform(0, 200, (12, 2))
        truth = Boxes.of(
            np.hstack([corners, corners + draw.uniform(40, 90, (12, 2))]), [1.0] * 12, [*range(3)] * 4
        )
        moved = truth.xyxy[draw.integers(0, 12, 30)] + draw.normal(0, 10, (30, 4))
        found = Boxes.of(moved, draw.random(30), draw.integers(0, 3, 30))
        seconds = added(found, truth, costs)
        for score in (0.0, 0.3, 0.7, 0.95, 1.0):
            shown = found.scores >= score
            taken = correct(found.select(shown), truth, costs).seconds(costs)
            assert seconds[shown].sum() + 12 * costs.draw == pytest.approx(taken, abs=0.05)


def test_nothing_proposed_and_nothing_there() -> None:
    assert added(Boxes.empty(), TRUTH, QUICK).tolist() == []
    assert added(TRUTH, Boxes.empty(), QUICK).tolist() == [1.0] * 3


def test_a_crowd_takes_no_time() -> None:
    """600 boxes on 200 objects: each group of boxes that could be one another's is paired by itself."""
    corners = np.stack(np.meshgrid(np.arange(20) * 50.0, np.arange(10) * 50.0), axis=-1).reshape(-1, 2)
    truth = Boxes.of(np.hstack([corners, corners + 40]), [1.0] * 200, [BALL] * 200)
    found = Boxes.of(np.tile(truth.xyxy, (3, 1)), np.linspace(1, 0, 600), [BALL] * 600)
    began = time.process_time()
    assert added(found, truth, QUICK).sum() == pytest.approx(200 * (0.5 - 7) + 400)
    assert time.process_time() - began < 1
