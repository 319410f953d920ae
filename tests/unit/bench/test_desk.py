"""What a person has to do with the boxes that are shown, and what that counts as."""

from collections import Counter

from bench.desk import figures
from bench.desk_plan import Step, What, Why, plan

from labelloop.boxes import Boxes

CRATE, BALL = 1, 0
TRUTH = [(100, 100, 180, 180), (20, 20, 80, 80)]


def boxes(corners: list[tuple[int, int, int, int]], labels: list[int]) -> Boxes:
    return Boxes.of(corners, [1.0] * len(corners), labels)


def steps(shown: list[tuple[int, int, int, int]], labels: list[int]) -> list[tuple[What, Why, int | None]]:
    found: list[Step] = plan(boxes(TRUTH, [CRATE, BALL]), boxes(shown, labels))
    return [(step.what, step.why, step.shown) for step in found]


def test_what_is_right_stays() -> None:
    assert steps([(22, 20, 80, 81), (100, 101, 180, 180)], [BALL, CRATE]) == []


def test_the_best_of_several_boxes_on_an_object_stays() -> None:
    shown = [(110, 110, 180, 180), (20, 20, 80, 80), (100, 100, 180, 180), (104, 104, 130, 130)]
    assert steps(shown, [CRATE, BALL, CRATE, CRATE]) == [
        (What.DELETE, Why.SECOND, 3),
        (What.DELETE, Why.SECOND, 0),
    ]


def test_a_box_where_nothing_is_and_a_small_one_of_another_label_are_no_second_ones() -> None:
    shown = [*TRUTH, (250, 10, 300, 60), (104, 104, 130, 130)]
    assert {why for _, why, _ in steps(shown, [CRATE, BALL, BALL, BALL])} == {Why.NOTHING}


def test_what_is_missing_is_drawn_last_and_what_is_loose_or_of_another_label_is_changed() -> None:
    assert steps([(120, 100, 200, 180)], [CRATE]) == [
        (What.MOVE, Why.LOOSE, 0),
        (What.DRAW, Why.MISSED, None),
    ]
    assert steps([(100, 100, 180, 180), (20, 20, 80, 50)], [BALL, BALL]) == [
        (What.RELABEL, Why.LABEL, 0),
        (What.RESIZE, Why.LOOSE, 1),
    ]


def test_the_figures_are_an_image_each() -> None:
    made = {row.name: row for row in figures(Counter({Why.SUBMIT: 8, Why.SECOND: 4}), 1, 20)}
    assert made["actions an image"].value == 1.5
    assert made["of them for second boxes on one object"].value == 0.5
    assert made["objects without a right box in the end"].met is False
