import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.boxes import Boxes
from labelloop.labels import Label, LabelConfig, parse_label_config
from labelloop.regions import from_results, read_regions, to_results

CONFIG = LabelConfig("label", "image", "image", (Label("cat"), Label("dog")))


def region(**value: object) -> dict[str, object]:
    return {
        "id": "r1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "value": {
            "x": 10,
            "y": 20,
            "width": 30,
            "height": 40,
            "rotation": 0,
            "rectanglelabels": ["dog"],
            **value,
        },
    }


@given(
    st.integers(1, 8000),
    st.integers(1, 8000),
    st.lists(
        st.tuples(*[st.floats(0, 1, width=32)] * 4, st.floats(0, 1, width=32), st.integers(0, 1)), max_size=8
    ),
)
def test_boxes_survive_the_way_to_label_studio_and_back(
    width: int, height: int, rows: list[tuple[float, float, float, float, float, int]]
) -> None:
    size = np.array([width, height] * 2)
    corners = [np.array([min(a, c), min(b, d), max(a, c), max(b, d)]) * size for a, b, c, d, _, _ in rows]
    boxes = Boxes.of(corners, [row[4] for row in rows], [row[5] for row in rows])
    results = to_results(boxes, CONFIG, width, height)
    back, problems = from_results(results, CONFIG, (width, height))
    wide_enough = boxes.clip(width, height)
    assert not problems or all("no area" in problem for problem in problems)
    assert len(results) == len(wide_enough)
    if len(back) == len(wide_enough):
        np.testing.assert_allclose(back.xyxy, wide_enough.xyxy, atol=max(width, height) * 1e-5)
        assert back.labels.tolist() == wide_enough.labels.tolist()


def test_a_result_is_what_label_studio_stores() -> None:
    [result] = to_results(Boxes.of([[20, 20, 80, 60]], [0.75], [1]), CONFIG, width=200, height=100)
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "image", "rectanglelabels")
    assert result["score"] == 0.75
    assert (result["original_width"], result["original_height"]) == (200, 100)
    value = result["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == pytest.approx((10, 20, 30, 40))
    assert value["rectanglelabels"] == ["dog"]


def test_a_rotated_rectangle_becomes_its_axis_aligned_hull() -> None:
    boxes, problems = from_results([region(x=50, y=50, width=20, height=20, rotation=45)], CONFIG)
    assert not problems
    half_width, height = 20 * math.cos(math.radians(45)), (40 + 20) * math.sin(math.radians(45))
    expected = [100 - half_width, 50, 100 + 40 * math.cos(math.radians(45)), min(50 + height, 100)]
    assert boxes.xyxy[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rectanglelabels": ["wolf"]}, "label 'wolf' is not in the label config"),
        ({"rectanglelabels": []}, "no label"),
        ({"x": None}, "TypeError"),
        ({"width": 0}, "no area"),
        ({"x": 120}, "no area"),
        ({"x": float("nan")}, "no finite numbers: nan"),
        ({"width": float("inf")}, "no finite numbers"),
    ],
)
def test_what_is_no_rectangle_is_named_and_hurts_nothing_else(value: dict[str, object], words: str) -> None:
    boxes, problems = from_results([region(**value), region()], CONFIG)
    assert len(boxes) == 1 and boxes.labels.tolist() == [1]
    assert len(problems) == 1 and "r1" in problems[0] and words in problems[0]


BESIDE = parse_label_config("""<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="cat"/><Label value="dog"/><Label value="crowd" ignore="true"/>
  </RectangleLabels>
  <PolygonLabels name="outline" toName="image"><Label value="road"/><Label value="cat"/></PolygonLabels>
  <RectangleLabels name="second" toName="image"><Label value="sign"/></RectangleLabels>
  <Choices name="quality" toName="image"><Choice value="Unusable" exclude="true"/><Choice
  value="good"/></Choices> <Choices name="view" toName="image" exclude="Dark, Night"><Choice value="Dark"
  alias="d"/><Choice value="day"/> <Choice value="Night"/></Choices> <Choices name="sure" toName="image"
  perRegion="true"><Choice value="no" exclude="true"/></Choices> <MagicWand name="wand" toName="image"/>
  <TextArea name="note" toName="image"
  perRegion="true"/> </View>""")


def of(control: str, kind: str, **value: object) -> dict[str, object]:
    return {"id": "x", "from_name": control, "to_name": "image", "type": kind, "value": value}


@pytest.mark.parametrize(
    "result",
    [
        of("outline", "polygonlabels", points=[[1, 2]], polygonlabels=["road"]),
        of("second", "rectanglelabels", x=1, y=1, width=9, height=9, rectanglelabels=["sign"]),
        of("quality", "choices", choices=["good"]),
        of("wand", "brushlabels", rle=[1], brushlabels=["road"]),
        of("a choice that is gone", "choices", choices=["x"]),
        {**of("note", "textarea", text=["blurred"]), "id": "r1"},
        {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"},
    ],
)
def test_results_of_other_controls_beside_the_boxes_are_no_fault(result: dict[str, object]) -> None:
    found = read_regions([result, region()], BESIDE)
    assert (len(found.boxes), found.faults, found.outside, found.excluding) == (1, [], [], [])


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({**region(), "from_name": "box"}, "made by 'box', which the label config does not have"),
        ({**region(), "type": None}, "it has no type"),
        ({**region(), "to_name": "photo"}, "drawn on 'photo', not on 'image'"),
        (
            {**region(), "type": "polygonlabels"},
            "its type is 'polygonlabels', that of 'label' is 'rectanglelabels'",
        ),
        ({**region(), "type": "rectangle"}, "its type is 'rectangle'"),
        (
            {**region(), "from_name": "quality"},
            "its type is 'rectanglelabels', that of 'quality' is 'choices'",
        ),
        (of("outline", "polygonlabels", points=[[1, 2]], polygonlabels=["cat"]), "is learned from boxes"),
        (of("mask", "brushlabels", brushlabels=["road"]), "made by 'mask'"),
    ],
)
def test_a_region_behind_which_a_box_may_stand_is_a_fault(result: dict[str, object], words: str) -> None:
    found = read_regions([result, region()], BESIDE)
    assert len(found.boxes) == 1 and len(found.faults) == 1 and words in found.faults[0]


@pytest.mark.parametrize(
    ("results", "excluding"),
    [
        ([of("quality", "choices", choices=["Unusable"])], ["Unusable"]),
        ([of("view", "choices", choices=["d"])], ["d"]),
        ([of("view", "choices", choices=["day", "Night"])], ["Night"]),
        ([of("quality", "choices", choices="Unusable")], []),
    ],
)
def test_choices_that_leave_an_image_out_are_told(results: list[object], excluding: list[str]) -> None:
    assert read_regions(results, BESIDE).excluding == excluding


def test_boxes_of_an_ignore_label_and_boxes_that_an_answer_leaves_out_are_neither_truth_nor_error() -> None:
    unsure = {**of("sure", "choices", choices=["no"]), "id": "r2"}
    rows = [
        region(),
        region(rectanglelabels=["crowd"]),
        region(rectanglelabels=["cat", "crowd"]),
        {**region(), "id": "r2"},
        unsure,
    ]
    found = read_regions(rows, BESIDE)
    assert BESIDE.names == ["cat", "dog"] and BESIDE.marks.ignored == ("crowd",)
    assert found.boxes.labels.tolist() == [1]
    assert found.ignored.labels.tolist() == [2, 0, 1], "a crowd of anything, cats among one, a doubtful dog"
    assert found.faults == [] and found.excluding == []


def test_the_image_s_own_size_beats_the_one_noted_in_the_region() -> None:
    boxes, _ = from_results([region()], CONFIG, size=(1000, 500))
    assert boxes.xyxy[0].tolist() == pytest.approx([100, 100, 400, 300])
