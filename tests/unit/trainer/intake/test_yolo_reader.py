"""YOLO as tools write it: lists, moved folders, polygons, turned boxes, scores, faults."""

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.records import IntakeError, Record, ShapeKind


def one(write: Write, read: Read, text: str, yaml: str = "names: [ball]\ntrain: images\n") -> Record:
    write("data.yaml", yaml)
    write("images/a.png", "")
    write("labels/a.txt", text)
    [record] = read()
    return record


@pytest.mark.parametrize(
    ("line", "kind", "corners", "score"),
    [
        ("0 0.5 0.5 0.5 0.5", ShapeKind.BOX, (0.25, 0.25, 0.75, 0.75), None),
        ("0 0.5 0.5 0.5 0.5 0.9", ShapeKind.BOX, (0.25, 0.25, 0.75, 0.75), 0.9),
        ("0 0.1 0.2 0.5 0.2 0.3 0.6", ShapeKind.POLYGON, (0.1, 0.2, 0.5, 0.6), None),
        ("0 0.1 0.2 0.5 0.2 0.3 0.6 0.7", ShapeKind.POLYGON, (0.1, 0.2, 0.5, 0.6), 0.7),
        ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", ShapeKind.ROTATED, (0.1, 0.1, 0.9, 0.9), None),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9", ShapeKind.BOX, (0.1, 0.1, 0.9, 0.9), None),
    ],
)
def test_a_line_is_a_box_or_a_polygon_with_a_score_or_without(
    write: Write, read: Read, line: str, kind: ShapeKind, corners: tuple[float, ...], score: float | None
) -> None:
    [labels] = one(write, read, f"\ufeff{line}\r\n\r\n").labels
    [shape] = labels.shapes
    assert (shape.label, shape.kind, shape.corners, shape.score) == ("ball", kind, corners, score)


def test_keypoints_behind_a_box_are_not_taken_for_a_polygon(write: Write, read: Read) -> None:
    yaml = "names: [ball]\ntrain: images\nkpt_shape: [2, 3]\n"
    [labels] = one(write, read, "0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 2", yaml).labels
    assert labels.shapes[0].kind is ShapeKind.BOX


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1 0.5 0.5 0.5 0.5", "a.txt, line 2: no class 1; there are 1 names"),
        ("ball 0.5 0.5 0.5 0.5", "a.txt, line 2: 'ball' is 'ball', no number"),
        ("0 0.5 0.5", "a.txt, line 2: 3 numbers; a box has 5, a polygon 7 or more"),
        ("0 0.5 nan 0.5 0.5", "a.txt, line 2: 'nan' is nan, not finite"),
    ],
)
def test_a_line_that_is_not_understood_leaves_its_image_out(
    write: Write, read: Read, line: str, why: str
) -> None:
    record = one(write, read, f"0 0.5 0.5 0.5 0.5\n{line}\n")
    assert (record.problem, record.labels) == (why, ())


def test_an_empty_file_is_a_negative_and_no_file_is_no_label(write: Write, read: Read) -> None:
    write("images/b.png", "")
    write("data.yaml", "names: [ball]\ntrain: images\n")
    write("images/a.png", "")
    write("labels/a.txt", "")
    a, b = read()
    assert [labels.shapes for labels in a.labels] == [()] and b.labels == ()


@pytest.mark.parametrize(
    "value", ["../train/images", "/home/them/set/train/images", "D:\\set\\train\\images"]
)
def test_a_folder_that_was_moved_is_found_by_the_end_of_its_path(
    write: Write, read: Read, value: str
) -> None:
    write("train/images/a.png", "")
    write("train/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    write("data.yaml", f"names: [ball]\ntrain: '{value}'\nval: '{value}'\n")
    [record] = read()
    assert record.name == "train/images/a.png" and len(record.labels) == 1


def test_a_folder_that_is_nowhere_is_told(write: Write, read: Read) -> None:
    write("data.yaml", "names: [ball]\ntrain: pictures\n")
    with pytest.raises(IntakeError, match="`train: pictures` is neither a folder nor a list of images"):
        read()


def test_an_image_of_a_list_that_is_gone_is_told(write: Write, read: Read) -> None:
    write("data.yaml", "names: [ball]\ntrain: list.txt\n")
    write("list.txt", "./images/gone.png\n")
    [record] = read()
    assert record.file is None and "the image is not in the dataset" in record.missing


@pytest.mark.parametrize("name", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_darknets_and_label_studios_exports_have_names_in_a_file(write: Write, read: Read, name: str) -> None:
    write(name, "crate\r\nball\r\n")
    write("notes.json", '{"categories": [], "info": {}}')
    write("images/a.png", "")
    write("labels/a.txt", "1 0.5 0.5 0.5 0.5\r\n")
    [record] = read()
    assert record.labels[0].shapes[0].label == "ball"


@pytest.mark.parametrize(
    ("names", "wanted"), [("{0: ball}", "ball"), ("['0']", "0"), ("[yes]", "yes"), ("[007]", "007")]
)
def test_names_are_a_list_or_have_numbers(write: Write, read: Read, names: str, wanted: str) -> None:
    record = one(write, read, "0 0.5 0.5 0.5 0.5", f"names: {names}\ntrain: images\n")
    assert record.labels[0].shapes[0].label == wanted


@pytest.mark.parametrize(
    ("yaml", "why"),
    [
        ("names: [ball\n", "data.yaml: not YAML"),
        ("names: 5\n", "`names:` is neither a list nor numbers with names but '5'"),
    ],
)
def test_a_data_yaml_that_is_not_understood_is_refused(write: Write, read: Read, yaml: str, why: str) -> None:
    write("data.yaml", yaml)
    with pytest.raises(IntakeError, match=why):
        read()
