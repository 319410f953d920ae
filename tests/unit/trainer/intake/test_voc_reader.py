"""Pascal VOC as tools write it: turned boxes, polygons, sizes of 0, wrong file names, faults."""

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.records import Record, ShapeKind

BOX = "<bndbox><xmin>1</xmin><ymin>3.0</ymin><xmax>11</xmax><ymax>9</ymax></bndbox>"


def one(write: Write, read: Read, entry: str, size: str = "<width>40</width><height>20</height>") -> Record:
    write("images/a.png", "")
    write(
        "labels/a.xml",
        f"<?xml version='1.0'?><annotation><filename>other.jpg</filename><size>{size}</size>{entry}"
        "</annotation>",
    )
    [record] = read()
    return record


def test_difficult_and_truncated_objects_are_boxes_like_others(write: Write, read: Read) -> None:
    flags = "<difficult>1</difficult><truncated>1</truncated>"
    record = one(write, read, f"<object><name> ball </name>{flags}{BOX}</object>")
    [shape] = record.labels[0].shapes
    assert (shape.label, shape.corners, shape.kind) == ("ball", (0, 2, 11, 9), ShapeKind.BOX)
    assert record.file is not None and record.stated == (40, 20)


def test_a_file_without_objects_is_a_negative(write: Write, read: Read) -> None:
    assert [labels.shapes for labels in one(write, read, "").labels] == [()]


def test_a_size_of_zero_is_none(write: Write, read: Read) -> None:
    record = one(write, read, "", "<width>0</width><height>0</height>")
    assert record.stated is None and record.scale is None


def test_turned_boxes_and_polygons_are_told(write: Write, read: Read) -> None:
    turned = "<robndbox><cx>20</cx><cy>10</cy><w>10</w><h>4</h><angle>1.5707963267948966</angle></robndbox>"
    polygon = "<polygon><x1>1</x1><y1>1</y1><x2>5</x2><y2>1</y2><x3>5</x3><y3>7</y3></polygon>"
    record = one(
        write,
        read,
        f"<object><name>ball</name>{turned}</object><object><name>ball</name>{polygon}</object>",
    )
    first, second = record.labels[0].shapes
    assert first.kind is ShapeKind.ROTATED and [round(side, 3) for side in first.corners] == [18, 5, 22, 15]
    assert second.kind is ShapeKind.POLYGON and second.corners == (0, 0, 4, 6)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("<object><name>ball</name></object>", "a.xml: <object> ball: no <bndbox>"),
        (f"<object>{BOX}</object>", "a.xml: an <object> has no <name>"),
        (
            f"<object><name>ball</name>{BOX.replace('11', '')}</object>",
            "a.xml: <object> ball: xmax is '', no",
        ),
    ],
)
def test_an_object_that_is_not_understood_leaves_its_image_out(
    write: Write, read: Read, entry: str, why: str
) -> None:
    record = one(write, read, entry)
    assert record.problem.startswith(why) and not record.labels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotation><object>", "a.xml, line 1: no element found"),
        (
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><annotation>&e;</annotation>",
            "a.xml: declares a document type",
        ),
    ],
)
def test_xml_that_is_broken_or_has_entities_is_told(write: Write, read: Read, text: str, why: str) -> None:
    write("a.xml", text)
    [record] = read()
    assert record.problem.startswith(why)
