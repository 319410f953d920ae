"""What a simulated person does with proposed boxes, and what is submitted."""

from dataclasses import replace

import pytest
from support.shapes import LABEL_CONFIG

from labelloop.boxes import Boxes
from labelloop.labels import parse_label_config
from labelloop.regions import from_results
from trainer.judging.effort import PageCosts, Work
from trainer.simulate.annotator import annotation, correct
from trainer.simulate.errors import OptionError
from trainer.simulate.options import Person

COSTS = Person()
BALL, CRATE = 0, 1
SQUARE = (100.0, 100.0, 200.0, 200.0)
CONFIG = parse_label_config(LABEL_CONFIG)


def boxes(*rows: tuple[tuple[float, float, float, float], int]) -> Boxes:
    return Boxes.of([box for box, _ in rows], [0.9] * len(rows), [label for _, label in rows])


def overlapping(iou: float) -> tuple[float, float, float, float]:
    """A box inside SQUARE that covers this much of it."""
    return (100.0, 100.0, 200.0, 100.0 + 100.0 * iou)


@pytest.mark.parametrize(
    ("proposed", "work"),
    [
        ((SQUARE, BALL), Work(accepted=1)),
        ((overlapping(0.7), BALL), Work(accepted=1)),
        ((overlapping(0.69), BALL), Work(adjusted=1)),
        ((overlapping(0.3), BALL), Work(adjusted=1)),
        ((overlapping(0.29), BALL), Work(deleted=1, drawn=1)),
        ((SQUARE, CRATE), Work(relabelled=1)),
        ((overlapping(0.69), CRATE), Work(deleted=1, drawn=1)),
    ],
)
def test_one_box_against_one_truth(
    proposed: tuple[tuple[float, float, float, float], int], work: Work
) -> None:
    assert correct(boxes(proposed), boxes((SQUARE, BALL)), COSTS) == work


def test_nothing_proposed_is_drawn_and_nothing_true_is_deleted() -> None:
    two = boxes((SQUARE, BALL), ((0, 0, 50, 50), CRATE))
    assert correct(Boxes.empty(), two, COSTS) == Work(drawn=2)
    assert correct(two, Boxes.empty(), COSTS) == Work(deleted=2)
    assert correct(Boxes.empty(), Boxes.empty(), COSTS) == Work()


def test_of_duplicates_the_best_is_accepted_and_the_others_deleted() -> None:
    proposed = boxes((overlapping(0.8), BALL), (SQUARE, BALL), (overlapping(0.5), BALL))
    assert correct(proposed, boxes((SQUARE, BALL)), COSTS) == Work(accepted=1, deleted=2)


def test_a_box_of_the_wrong_label_goes_when_one_of_the_right_label_is_there() -> None:
    proposed = boxes((SQUARE, CRATE), (overlapping(0.75), BALL))
    assert correct(proposed, boxes((SQUARE, BALL)), COSTS) == Work(accepted=1, deleted=1)


def test_pairs_are_one_to_one_and_the_quickest_in_sum() -> None:
    """Taking the highest IoU first would leave the second truth to be drawn."""
    truth = boxes(((0, 0, 100, 100), BALL), ((40, 0, 140, 100), BALL))
    proposed = boxes(((10, 0, 110, 100), BALL), ((-60, 0, 40, 100), BALL))
    assert correct(boxes(((10, 0, 110, 100), BALL)), truth, COSTS) == Work(accepted=1, drawn=1)
    assert correct(proposed, truth, Person(adjusted_iou=0.2)) == Work(adjusted=2)


def test_what_takes_longer_to_adjust_than_to_draw_anew_is_drawn_anew() -> None:
    slow = Person(draw=2.0, adjust=5.0, delete=1.0, relabel=2.9)
    assert correct(boxes((overlapping(0.5), BALL)), boxes((SQUARE, BALL)), slow) == Work(deleted=1, drawn=1)
    assert correct(boxes((SQUARE, CRATE)), boxes((SQUARE, BALL)), slow) == Work(relabelled=1)
    slower = Person(draw=2.0, adjust=0.5, delete=1.0, relabel=3.1)
    assert correct(boxes((SQUARE, CRATE)), boxes((SQUARE, BALL)), slower) == Work(deleted=1, drawn=1)


def test_work_adds_up_to_seconds() -> None:
    work = Work(accepted=2, adjusted=1) + Work(relabelled=1, deleted=3, drawn=1)
    assert work == Work(2, 1, 1, 3, 1)
    assert work.seconds(COSTS) == 2 * 0.5 + 2 * 3.5 + 3 * 1.0 + 7.0
    assert (work.proposed, work.truths) == (7, 5)
    assert work.share_accepted == 2 / 7
    assert Work(drawn=3).share_accepted is None


def test_the_truth_is_submitted_in_percent() -> None:
    (result,) = annotation(boxes((SQUARE, CRATE)), CONFIG, 400, 200)
    assert result["value"] == {
        "x": 25.0,
        "y": 50.0,
        "width": 25.0,
        "height": 50.0,
        "rotation": 0,
        "rectanglelabels": ["crate"],
    }
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "image", "rectanglelabels")
    assert "score" not in result
    read, problems = from_results([result], CONFIG, (400, 200))
    assert not problems
    assert read.xyxy.tolist() == [list(SQUARE)]
    assert annotation(Boxes.empty(), CONFIG, 400, 200) == []


def test_impossible_costs_are_refused() -> None:
    with pytest.raises(OptionError, match="less than 0"):
        Person(draw=-1)
    with pytest.raises(OptionError, match="less than 0"):
        Person(relabel=-1)
    with pytest.raises(OptionError, match="less than 0"):
        Person.of("quick", page=-1)
    with pytest.raises(OptionError, match="COSTS=free: choose among quick,careful"):
        Person.of("free")
    with pytest.raises(OptionError, match="ADJUSTED_IOU"):
        Person(adjusted_iou=0.8)


def test_a_person_has_a_tables_costs_and_what_is_given_instead() -> None:
    careful = Person.of("careful", delete=2.5, adjust=None, adjusted_iou=0.4)
    pages = PageCosts(glance=1.0, mark=2.0, page=4.0)
    assert careful == Person(7.0, 4.5, 2.5, 1.7, relabel=3.0, adjusted_iou=0.4, pages=pages)
    assert Person.of("careful", glance=0.4).pages == replace(pages, glance=0.4)
    assert Person.of("quick") == Person()
