"""What is proposed for an image with a labelled near-duplicate: the model's boxes, and a person's."""

import json

import pytest

from labelloop.boxes import Boxes
from labelloop.labels import Label, LabelConfig
from labelloop.twins import Twin, composed, is_marked, marked

CONFIG = LabelConfig("label", "image", "image", (Label("cat"), Label("dog")))
CAT, DOG = 0, 1
HERE, NEARBY, FAR = [10, 10, 50, 50], [14, 10, 54, 50], [200, 200, 240, 240]
Row = tuple[list[int], float, int]


def boxes(*rows: Row) -> Boxes:
    return Boxes.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def rows(found: Boxes) -> list[Row]:
    return [
        ([round(side) for side in box], round(score, 2), label)
        for box, score, label in zip(
            found.xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize(
    "twin, candidates, own, added",
    [
        ([(HERE, 0.9, CAT)], [(NEARBY, 0.8, CAT)], [(NEARBY, 0.8, CAT)], []),
        ([(HERE, 0.9, CAT)], [(NEARBY, 0.1, CAT)], [], [(HERE, 0.9, CAT)]),
        ([(HERE, 0.0, CAT)], [(NEARBY, 0.1, CAT)], [], [(NEARBY, 0.1, CAT)]),
        ([(HERE, 0.0, CAT)], [(NEARBY, 0.1, DOG)], [], []),
        ([(HERE, 0.0, CAT)], [(FAR, 0.1, CAT)], [], []),
        ([(HERE, 0.9, CAT)], [(NEARBY, 0.8, DOG)], [], [(HERE, 0.9, CAT)]),
        ([(HERE, 0.0, CAT)], [(NEARBY, 0.8, DOG)], [(NEARBY, 0.8, DOG)], []),
        ([(HERE, 0.9, CAT)], [(FAR, 0.8, CAT)], [(FAR, 0.8, CAT)], [(HERE, 0.9, CAT)]),
        ([(HERE, 0.9, CAT)], [], [], [(HERE, 0.9, CAT)]),
        ([(HERE, 0.9, CAT), (HERE, 0.9, DOG)], [(HERE, 0.8, DOG)], [(HERE, 0.8, DOG)], [(HERE, 0.9, CAT)]),
        ([(HERE, 0.0, CAT), (NEARBY, 0.0, CAT)], [(HERE, 0.1, CAT)], [], [(HERE, 0.1, CAT)]),
        ([], [(HERE, 0.8, CAT), (FAR, 0.1, CAT)], [(HERE, 0.8, CAT)], []),
    ],
    ids=[
        "the model sees it: its own",
        "faintly: where it was found again",
        "not found again, faintly seen: where the model sees it",
        "not found again, seen as something else: gone",
        "not found again, nothing there: gone",
        "found again, another label by the model: the person's",
        "gone, and the model sees something else there",
        "what is new stays the model's",
        "a model that knows no label",
        "two labels on one thing, as the person drew it",
        "one faint box for one of two",
        "a twin without boxes",
    ],
)
def test_a_persons_boxes_and_the_models(
    twin: list[Row], candidates: list[Row], own: list[Row], added: list[Row]
) -> None:
    seen = boxes(*candidates)
    found, from_twin = composed(boxes(*twin), seen, seen.scores >= 0.5)
    assert (rows(found), rows(from_twin)) == (own, added)


def test_a_twin_survives_json_and_its_boxes_are_scaled_to_the_image() -> None:
    twin = Twin(12, (("cat", (10.0, 20.0, 30.0, 40.0), 0.9), ("owl", (0.0, 0.0, 1.0, 1.0), 0.9)))
    read = Twin.read(json.loads(json.dumps(twin.row())))
    assert read == twin
    assert rows(read.in_pixels(CONFIG, 200, 100)) == [([20, 20, 60, 40], 0.9, CAT)]


def test_the_mark_says_to_the_labeller_where_a_box_is_from() -> None:
    [region] = marked([{"id": "a", "type": "rectanglelabels"}], 12)
    assert region["meta"]["text"] == ["from a near-duplicate, task 12"] and region["id"] == "a"
    assert is_marked(region)
    for other in ({"id": "a"}, {"meta": {"text": ["from a near-duplicate"]}}, {"meta": 1}, None, []):
        assert not is_marked(other)
