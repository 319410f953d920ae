"""The sizes of a label's boxes: written by the trainer, read by the ML backend."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.box_sizes import MOST, SIZES_FILE, SizesBook, Usual, sizes_in
from labelloop.boxes import Floats
from labelloop.labels import parse_label_config

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="fox"/><Label value="owl"/></RectangleLabels></View>'
)


def floats(rows: Any) -> Floats:
    return np.asarray(rows, dtype=np.float32)


def region(label: str, width: float, height: float, **more: object) -> dict[str, object]:
    value = {"x": 10, "y": 10, "width": width, "height": height, "rectanglelabels": [label]}
    here = {"from_name": "label", "to_name": "image", "original_width": 400, "original_height": 200}
    return {"id": "a", "type": "rectanglelabels", "value": value, **here, **more}


def test_sizes_are_shares_of_the_images_longer_side() -> None:
    found = sizes_in([region("fox", 25, 50), region("owl", 10, 10, id="b"), {"no": "region"}, 7], CONFIG)
    assert found == {"fox": [[0.25, 0.25]], "owl": [[0.1, 0.05]]}
    assert sizes_in([region("fox", 25, 50)], CONFIG, without={"a"}) == {}
    assert sizes_in(None, CONFIG) == {}


def test_a_corrected_task_replaces_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / SIZES_FILE
    SizesBook(path).note([(1, {"fox": [[0.5, 0.5]]}), (2, {"fox": [[0.1, 0.1]], "owl": [[0.2, 0.2]]})])
    SizesBook(path).note([(1, {"fox": [[0.3, 0.4]]})])
    found = SizesBook(path).by_label()
    assert found["fox"].tolist() == [[0.1, 0.1], [0.3, 0.4]] and found["owl"].tolist() == [[0.2, 0.2]]
    SizesBook(path).note([(2, {})])
    assert list(SizesBook(path).by_label()) == ["fox"]


def test_the_file_stays_small_and_keeps_rare_labels(tmp_path: Path) -> None:
    path = tmp_path / SIZES_FILE
    book = SizesBook(path)
    book.note([(0, {"owl": [[0.2, 0.2]]})])
    book.note((task, {"fox": [[0.1, 0.1]] * 5}) for task in range(1, 1000))
    assert path.stat().st_size < 10_000
    found = SizesBook(path).by_label()
    assert len(found["fox"]) == MOST and len(found["owl"]) == 1


@pytest.mark.parametrize("content", ["", "{", '{"tasks": 7}', '{"tasks": {"1": {"fox": [[1e9, -1]]}}}'])
def test_a_damaged_file_holds_nothing_and_is_written_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / SIZES_FILE
    path.write_text(content)
    assert SizesBook(path).by_label() == {}
    SizesBook(path).note([])
    assert SizesBook(path).by_label() == {} and path.read_text() != content


def test_the_more_boxes_agree_the_more_is_expected() -> None:
    one, many = Usual.of(np.array([[0.1, 0.1]])), Usual.of(np.array([[0.1, 0.1]] * 40))
    assert one is not None and many is not None
    twice = floats([[0.2, 0.2]])
    assert many.likelihood(twice)[0] < one.likelihood(twice)[0] < 0
    assert many.likelihood(floats([[0.1, 0.1]]))[0] == pytest.approx(0, abs=1e-5)
    assert Usual.of(None) is None and Usual.of(np.empty((0, 2))) is None


def around(side: float, count: int, spread: float = 0.1) -> np.ndarray:
    return side * np.exp(np.random.default_rng(3).normal(0, spread, (count, 2)))


def test_labels_that_are_alike_help_one_another() -> None:
    """As six kinds of small defects: one box of a kind says less about its usual size than all the others."""
    alike = {f"kind {number}": around(0.05, 8, 0.3) for number in range(5)}
    odd = np.array([[0.08, 0.08]])
    alone, among = Usual.of(odd), Usual.among({**alike, "hole": odd}, "hole")
    assert alone is not None and among is not None
    assert among.side < 0.07 < alone.side == pytest.approx(0.08)
    assert among.spread < alone.spread, "others tell how far boxes of one label differ, too"
    many = Usual.among({**alike, "hole": around(0.08, 60)}, "hole")
    assert many is not None and many.side == pytest.approx(0.08, rel=0.05), "who has many is not moved"


def test_labels_that_differ_leave_one_another_alone() -> None:
    """As cells and platelets."""
    unlike = {"red": around(0.15, 20), "white": around(0.45, 20)}
    found = Usual.among({**unlike, "platelet": around(0.05, 3)}, "platelet")
    assert found is not None and found.side == pytest.approx(0.05, rel=0.1)


def test_a_label_without_a_box_is_expected_as_the_others_but_less_surely() -> None:
    others = {"red": around(0.1, 20), "blue": around(0.1, 20)}
    none, own = Usual.among(others, "new"), Usual.among(others, "red")
    assert none is not None and own is not None
    assert none.side == pytest.approx(0.1, rel=0.1) and none.spread > own.spread
    assert Usual.among({}, "new") is None


def test_a_size_that_no_box_can_have_does_not_spoil_the_others(tmp_path: Path) -> None:
    """Whoever writes annotations by the API says how large the image is."""
    odd = region("fox", 50, 50, original_width=10**30)
    found = sizes_in([odd, region("fox", 25, 50)], CONFIG)
    assert found == {"fox": [[0.25, 0.25]]}
    SizesBook(tmp_path / SIZES_FILE).note([(1, found)])
    assert SizesBook(tmp_path / SIZES_FILE).by_label()["fox"].tolist() == [[0.25, 0.25]]
