"""COCO as tools write it: crowds, polygons, turned boxes, faults, files that are elsewhere."""

import json
from typing import Any

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.records import CROWD, IntakeError, Record, ShapeKind


@pytest.fixture
def coco(write: Write, read: Read) -> Any:
    def record(**annotation: Any) -> Record:
        """The only image, with one annotation."""
        write("a.png", "")
        row = {"id": 7, "image_id": "x", "category_id": 1, **annotation}
        document = {
            "images": [{"id": "x", "file_name": "a.png", "width": 40, "height": 20}],
            "annotations": [row],
            "categories": [{"id": 1, "name": "ball"}],
        }
        write("labels.json", json.dumps(document))
        [found] = read()
        return found

    return record


def test_a_crowd_is_a_label_of_its_own(coco: Any) -> None:
    [labels] = coco(bbox=[0, 0, 4, 2], iscrowd=1, segmentation={"counts": [1], "size": [20, 40]}).labels
    assert [(shape.label, shape.kind) for shape in labels.shapes] == [(CROWD, ShapeKind.BOX)]


def test_of_box_and_polygon_the_box_counts(coco: Any) -> None:
    [labels] = coco(bbox=[1, 2, 4, 2], segmentation=[[0, 0, 40, 0, 40, 20]]).labels
    assert [(shape.corners, shape.kind) for shape in labels.shapes] == [((1, 2, 5, 4), ShapeKind.BOX)]


def test_a_polygon_alone_is_one(coco: Any) -> None:
    [labels] = coco(segmentation=[[1, 2, 5, 2, 5, 4], [7, 8, 9, 8, 9, 9]]).labels
    assert [(shape.corners, shape.kind) for shape in labels.shapes] == [((1, 2, 9, 9), ShapeKind.POLYGON)]


def test_a_box_that_is_turned_is_told(coco: Any) -> None:
    [labels] = coco(bbox=[10, 5, 10, 4], attributes={"rotation": 90.0}).labels
    [shape] = labels.shapes
    assert shape.kind is ShapeKind.ROTATED
    assert [round(corner, 3) for corner in shape.corners] == [13, 2, 17, 12]


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        ({"bbox": [1, 2, 3]}, "annotation 7: no bbox of four numbers but '[1, 2, 3]', and no polygon"),
        ({"bbox": [1, 2, "wide", 3]}, "annotation 7: bbox is 'wide', no number"),
        ({"bbox": [1, 2, 3, 4], "category_id": 5}, "annotation 7: no category 5"),
    ],
)
def test_an_annotation_that_is_not_understood_leaves_its_image_out(
    coco: Any, annotation: dict[str, Any], why: str
) -> None:
    record = coco(**annotation)
    assert record.problem == why and not record.labels[0].shapes


def test_annotations_of_no_image_are_told(coco: Any, read: Read, write: Write) -> None:
    coco(bbox=[0, 0, 1, 1])
    document = {"images": [], "annotations": [{"image_id": 5}, {"image_id": 5}], "categories": []}
    write("labels.json", json.dumps(document))
    [record] = read()
    assert record.name == "image 5" and "lists no such image, but 2 of its annotations" in record.problem


def test_images_of_a_file_without_annotations_are_not_labelled(read: Read, write: Write) -> None:
    write("a.png", "")
    write("test.json", json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "categories": []}))
    [record] = read()
    assert record.labels == () and record.file is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"images": [', "set/labels.json: not JSON"),
        ('{"images": [{"id": 1}]}', "labels.json: image in row 1 has no file_name or id"),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}',
            "labels.json: two images have the id 1",
        ),
    ],
)
def test_a_file_that_is_no_coco_is_refused_by_name(read: Read, write: Write, text: str, why: str) -> None:
    write("labels.json", text)
    with pytest.raises(IntakeError, match=why):
        read()
