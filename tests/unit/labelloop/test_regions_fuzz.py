"""Regions and boxes under every value that JSON can hold."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.junk import JUNK, mutated

from labelloop.boxes import Boxes
from labelloop.labels import Label, LabelConfig
from labelloop.order import prediction_score
from labelloop.regions import from_results, to_results

CONFIG = LabelConfig("label", "image", "image", (Label("cat"), Label("dog")))
REGION: dict[str, Any] = {
    "id": "r1",
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "original_width": 200,
    "original_height": 100,
    "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["dog"]},
}
POLYGON = {"id": "p", "type": "polygonlabels", "from_name": "label", "to_name": "image",
           "value": {"points": [[1, 2], [3, 4]], "polygonlabels": ["dog"]}}  # fmt: skip
BRUSH = {"id": "b", "type": "brushlabels", "from_name": "label", "to_name": "image",
         "value": {"format": "rle", "rle": [1, 2], "brushlabels": ["dog"]}}  # fmt: skip
NUMBERS = st.floats() | st.floats(-300, 300)


@given(results=mutated([REGION, POLYGON, BRUSH, REGION]) | JUNK, sized=st.booleans())
def test_whatever_an_annotation_holds_its_boxes_lie_inside_the_image(results: Any, sized: bool) -> None:
    boxes, problems = from_results(results, CONFIG, (200, 100) if sized else None)
    assert np.isfinite(boxes.xyxy).all()
    if sized:
        assert (boxes.xyxy >= 0).all() and (boxes.xyxy <= [200, 100, 200, 100]).all()
    assert all(len(problem) < 300 for problem in problems)


@given(results=mutated([REGION, POLYGON]))
def test_a_damaged_region_never_costs_a_whole_one(results: list[Any]) -> None:
    boxes, _ = from_results([*results, REGION], CONFIG, (200, 100))
    assert boxes.xyxy[-1].tolist() == pytest.approx([20, 20, 80, 60])


@given(x=NUMBERS, y=NUMBERS, width=NUMBERS, height=NUMBERS, rotation=NUMBERS)
def test_any_rectangle_is_inside_or_named(
    x: float, y: float, width: float, height: float, rotation: float
) -> None:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    region = {**REGION, "value": {**REGION["value"], **value}}
    boxes, problems = from_results([region], CONFIG, (200, 100))
    assert len(boxes) + len(problems) == 1
    assert (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2] >= 1).all()


@given(
    x=st.floats(0, 50),
    y=st.floats(0, 50),
    width=st.floats(5, 50),
    height=st.floats(5, 50),
    turns=st.integers(-8, 8),
)
def test_a_full_turn_changes_nothing(x: float, y: float, width: float, height: float, turns: int) -> None:
    value = {**REGION["value"], "x": x, "y": y, "width": width, "height": height}
    straight, turned = (
        from_results([{**REGION, "value": {**value, "rotation": degrees}}], CONFIG, (200, 100))[0]
        for degrees in (0, 360 * turns)
    )
    np.testing.assert_allclose(straight.xyxy, turned.xyxy, atol=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": None}, "no rectangle"),
        ({"value": "x"}, "no rectangle"),
        ({"value": {**REGION["value"], "rectanglelabels": "dog"}}, "no rectangle"),
        ({"value": {**REGION["value"], "rectanglelabels": [{"dog": 1}]}}, "not in the label config"),
        ({"value": {**REGION["value"], "x": 10**400}}, "OverflowError"),
        ({"value": {**REGION["value"], "x": "left"}}, "ValueError"),
        ({"to_name": "other"}, "drawn on 'other', not on 'image'"),
        ({"original_width": math.inf}, "OverflowError"),
        ({"original_width": 0}, "no area"),
    ],
)
def test_what_is_wrong_with_a_rectangle_is_named(change: dict[str, Any], words: str) -> None:
    boxes, [problem] = from_results([{**REGION, **change}], CONFIG)
    assert not len(boxes) and problem.startswith("region r1: ") and words in problem


@pytest.mark.parametrize("results", ["text", {"a": 1}, 5, None, ["x"], [None]])
def test_what_is_no_list_of_regions_is_named(results: Any) -> None:
    boxes, problems = from_results(results, CONFIG)
    assert not len(boxes) and len(problems) == 1


def test_labels_with_blanks_around_them_are_the_configs() -> None:
    config = LabelConfig("label", "image", "image", (Label(" dog "),))
    assert len(from_results([REGION], config)[0]) == 1


def test_a_label_that_is_given_twice_is_one_box() -> None:
    region = {**REGION, "value": {**REGION["value"], "rectanglelabels": ["dog", "dog", "cat"]}}
    assert from_results([region], CONFIG)[0].labels.tolist() == [1, 0]


def test_ten_thousand_regions_are_ten_thousand_boxes() -> None:
    assert len(from_results([REGION] * 10_000, CONFIG)[0]) == 10_000


@given(rows=st.lists(st.tuples(*[NUMBERS] * 4, st.floats(), st.integers(0, 1)), max_size=6))
def test_whatever_a_detector_answers_is_finite_in_label_studio(rows: list[tuple[Any, ...]]) -> None:
    boxes = Boxes.of([row[:4] for row in rows], [row[4] for row in rows], [row[5] for row in rows])
    for result in to_results(boxes, CONFIG, 200, 100):
        value = result["value"]
        assert all(0 <= value[side] <= 100 for side in ("x", "y", "width", "height"))
        assert math.isfinite(result["score"])
    assert 0 <= prediction_score(boxes.scores) <= 1
