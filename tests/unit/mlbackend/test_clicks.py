"""Label Studio's interactive pre-annotation: what a person points at becomes a box."""

import json
from typing import Any

import numpy as np
import pytest
from support.backend_home import LABEL_CONFIG, Home

from labelloop.box_sizes import SIZES_FILE, SizesBook
from labelloop.boxes import Floats
from labelloop.images import Pixels
from labelloop.raw_boxes import RawBoxes
from mlbackend.hints import MOST_HINTS
from mlbackend.looks_kept import Look, LooksKept

OBJECT = [60, 40, 120, 100]
AROUND_IT = [10, 0, 170, 140]


def floats(rows: Any) -> Floats:
    return np.asarray(rows, dtype=np.float32)


def sees(*boxes: list[int]) -> Any:
    def answer(image: Pixels) -> RawBoxes:
        found = floats([box for box in boxes for _ in range(5)]).reshape(-1, 4)
        return RawBoxes.best(found, np.full(len(found), 0.4, np.float32), np.ones((len(found), 4)))

    return answer


def key_point(x: float, y: float, label: str = "pet", **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    return hint("keypointlabels", value, **more)


def rectangle(x: float, y: float, w: float, h: float, label: str = "pet", **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [label]}
    return hint("rectanglelabels", value, **more)


def hint(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": 200, "original_height": 200, "image_rotation": 0}
    return {
        "id": "h1",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "value": value,
        **size,
        **more,
    }


class Person:
    """Clicks into a picture of 200 by 200 pixels, as Label Studio tells the backend of it."""

    def __init__(self, home: Home) -> None:
        home.add_version()
        self.home = home
        self.url = home.add_image("a.png", (200, 200))
        home.setup()

    def points(self, *hints: Any, task: dict[str, Any] | None = None, **context: Any) -> list[dict[str, Any]]:
        row = {"id": 7, "data": {"image": self.url}, **(task or {})}
        body = {"tasks": [row], "project": "1.1699999999", "label_config": LABEL_CONFIG}
        params = {"login": None, "password": None, "context": {"result": list(hints), **context}}
        answer = self.home.client.post("/predict", json={**body, "params": params})
        assert answer.status_code == 200, answer.json
        (found,) = answer.json["results"]
        assert found["model_version"] == answer.json["model_version"]
        return list(found["result"])

    def boxes(self, *hints: Any, **more: Any) -> list[list[float]]:
        """x1 y1 x2 y2 in pixels."""
        return [_corners(region) for region in self.points(*hints, **more)]


def _corners(region: dict[str, Any]) -> list[float]:
    x, y, w, h = (2 * region["value"][name] for name in ("x", "y", "width", "height"))
    return [x, y, x + w, y + h]


@pytest.fixture
def person(home: Home) -> Person:
    made = Person(home)
    home.detector.raw_answer = sees(OBJECT)
    return made


def near(box: list[float], other: list[int], px: float = 8) -> bool:
    return bool(np.abs(np.array(box) - other).max() <= px)


def test_a_click_becomes_a_box_of_its_label_under_its_own_id(person: Person) -> None:
    (region,) = person.points(key_point(46, 34))
    assert near(_corners(region), OBJECT)
    assert region["id"] == "h1" and region["type"] == "rectanglelabels" and region["from_name"] == "label"
    assert region["value"]["rectanglelabels"] == ["pet"] and 0 < region["score"] <= 1
    assert (region["original_width"], region["original_height"]) == (200, 200)
    assert region["origin"] == "prediction" and region["meta"] == {"from": "click", "version": "v0001"}


def test_a_rough_box_becomes_one_that_sits(person: Person) -> None:
    (box,) = person.boxes(rectangle(26, 24, 37, 25))
    assert near(box, OBJECT)


@pytest.mark.parametrize("line", [(30, 35, 30, 0), (45, 20, 0.4, 30), (30, 37, 30, -4), (45, 35, -30, -30)])
def test_a_line_marks_its_middle(person: Person, line: Any) -> None:
    """Whoever drags sloppily sideways gets a box, too. With two negative sides it marks where it begins."""
    (box,) = person.boxes(rectangle(*line))
    assert near(box, OBJECT)


@pytest.mark.parametrize("by_editor", [rectangle(44, 34, 0.5, 0.7), rectangle(45, 35, 9, 9)])
def test_a_speck_and_a_double_clicks_square_are_clicks(person: Person, by_editor: Any) -> None:
    (box,) = person.boxes(by_editor)
    assert near(box, OBJECT)


def test_the_same_place_again_gives_another_size_and_a_program_says_which(person: Person) -> None:
    person.home.detector.raw_answer = sees(OBJECT, AROUND_IT)
    first, second = person.boxes(key_point(45, 35)), person.boxes(key_point(45.2, 34.9))
    assert first != second
    elsewhere = person.boxes(key_point(20, 80))
    assert person.boxes(key_point(45, 35)) == first != elsewhere
    asked = [person.boxes(key_point(45, 35), again=number) for number in (0, 1, 0)]
    assert asked == [first, second, first]


def test_every_hint_gets_its_answer(person: Person) -> None:
    found = person.points(key_point(45, 35, id="a"), rectangle(60, 60, 30, 30.5, "car", id="b"))
    assert [(region["id"], region["value"]["rectanglelabels"]) for region in found] == [
        ("a", ["pet"]),
        ("b", ["car"]),
    ]


def test_sizes_of_labelled_images_and_of_this_one_decide(person: Person) -> None:
    person.home.detector.raw_answer = sees(OBJECT, [40, 20, 140, 120])
    path = person.home.registry.project(1).path / SIZES_FILE
    for width, expected in ((0.3, OBJECT), (0.5, [40, 20, 140, 120])):
        path.unlink(missing_ok=True)
        SizesBook(path).note([(1, {"pet": [[width, width]] * 20})])
        assert near(person.boxes(key_point(45, 35), again=0)[0], expected)
    path.unlink()
    drawn = [rectangle(5, 5, 30, 30, id=str(number)) for number in range(20)]
    for kind in ("drafts", "annotations"):
        assert near(person.boxes(key_point(45, 35), again=0, task={kind: [{"result": drawn}]})[0], OBJECT)


def test_small_objects_get_a_closer_look_where_nothing_is_seen(person: Person) -> None:
    path = person.home.registry.project(1).path / SIZES_FILE
    SizesBook(path).note([(1, {"pet": [[0.06, 0.06]] * 20})])
    person.home.detector.raw_answer = sees([84, 64, 96, 76])
    assert near(person.boxes(key_point(45, 35))[0], [84, 64, 96, 76], 2)
    assert person.home.detector.raw_sizes == [(200, 200)]
    speck = [30, 30, 42, 42]

    def from_close_by(image: Pixels) -> RawBoxes:
        close = image.shape[:2] == (72, 72)
        found: RawBoxes = sees(*([speck] if close else []))(image)
        return found

    person.home.detector.raw_answer = from_close_by
    (box,) = person.boxes(key_point(70, 70))
    assert person.home.detector.raw_sizes[1:] == [(72, 72)]
    assert near(box, [134, 134, 146, 146], 2)


def test_an_image_is_looked_at_once_and_again_when_its_file_changes(person: Person) -> None:
    for _ in range(3):
        person.boxes(key_point(45, 35))
    assert person.home.detector.raw_sizes == [(200, 200)]
    person.home.add_image("a.png", (300, 200))
    person.boxes(key_point(45, 35))
    assert person.home.detector.raw_sizes == [(200, 200), (300, 200)]


def test_what_is_kept_of_images_is_bounded() -> None:
    kept = LooksKept(most_bytes=100_000)
    nothing = RawBoxes.best(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 1)))
    for number in range(20):
        kept.keep(number, Look.of(np.zeros((100, 100, 3), np.uint8), nothing))
    assert kept.nbytes <= 100_000
    assert kept.get(0) is None and kept.get(19) is not None


def test_no_click_is_dead(person: Person) -> None:
    """Nothing seen, no image, a model that fails, no model at all: the box in the label's usual size."""
    path = person.home.registry.project(1).path / SIZES_FILE
    SizesBook(path).note([(1, {"pet": [[0.2, 0.1]]})])
    usual = [90, 90, 130, 110]
    click = key_point(55, 50)
    person.home.detector.raw_answer = sees()
    assert near(person.boxes(click)[0], usual, 1)

    def fails(image: Pixels) -> RawBoxes:
        raise RuntimeError("out of memory")

    person.home.detector.raw_answer = fails
    person.home.add_image("a.png", (200, 200), 10)
    assert near(person.boxes(click)[0], usual, 1)
    person.url = "/data/local-files/?d=images/gone.png"
    assert near(person.boxes(click)[0], usual, 1)


def test_a_project_without_a_model_gets_a_box_too(home: Home) -> None:
    home.add_version(project=2)
    person = Person(home)
    body = {
        "tasks": [{"id": 1, "data": {"image": person.url}}],
        "project": "9.1",
        "label_config": LABEL_CONFIG,
    }
    params = {"context": {"result": [key_point(50, 50)]}}
    answer = home.client.post("/predict", json={**body, "params": params})
    assert answer.status_code == 200
    assert near(_corners(answer.json["results"][0]["result"][0]), [95, 95, 105, 105], 1)


@pytest.mark.parametrize(
    "strange",
    [
        key_point(50, 50, "no such label"),
        {"type": "brushlabels", "value": {"brushlabels": ["pet"]}},
        {"type": "keypointlabels", "value": {"x": "?", "y": 5, "keypointlabels": ["pet"]}},
        {"type": "keypointlabels", "value": {"x": float("inf"), "y": 5, "keypointlabels": ["pet"]}},
        {"type": "rectanglelabels", "value": {"x": 5, "y": 5, "rectanglelabels": ["pet"]}},
        {"type": "keypointlabels", "value": [1]},
        "no region",
        None,
    ],
)
def test_what_is_no_hint_gets_no_box_and_no_error(person: Person, strange: Any) -> None:
    assert person.points(json.loads(json.dumps(strange))) == []
    assert len(person.points(json.loads(json.dumps(strange)), key_point(45, 35))) == 1


@pytest.mark.parametrize("context", [None, {}, {"result": []}, {"result": 7}, [], "x"])
def test_without_hints_predictions_are_made_as_ever(person: Person, context: Any) -> None:
    body = {
        "tasks": [{"id": 7, "data": {"image": person.url}}],
        "project": "1.1",
        "label_config": LABEL_CONFIG,
    }
    answer = person.home.client.post("/predict", json={**body, "params": {"context": context}})
    (found,) = answer.json["results"]
    assert found["result"][0]["value"]["width"] == 50


def test_a_request_of_very_many_hints_is_answered_in_part(person: Person) -> None:
    """A person points at one thing at a time; what a script sends keeps nobody waiting."""
    found = person.points(*(key_point(45, 35, id=str(number)) for number in range(5000)))
    assert [region["id"] for region in found] == [str(number) for number in range(MOST_HINTS)]
