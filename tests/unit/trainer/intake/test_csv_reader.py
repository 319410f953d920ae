"""A CSV of boxes as people have it: other names for columns, other separators, shares, faults."""

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.records import IntakeError, Record


def one(write: Write, read: Read, text: str) -> Record:
    write("images/a.png", "")
    write("boxes.csv", text)
    [record] = read()
    return record


@pytest.mark.parametrize(
    "text",
    [
        "image_path,label,x1,y1,x2,y2\nimages/a.png,ball,4,2,8,6\n",
        "Filename;Class;X;Y;W;H\r\nC:\\them\\a.png;ball;4;2;4;4\r\n",
        "file\tclass\tleft\ttop\tright\tbottom\timg_width\timg_height\na.png\tball\t4\t2\t8\t6\t40\t20\n",
        "a.png,4,2,8,6,ball\n",
        "a.png,ball,4,2,8,6\n",
        '"a.png","ball","4.0","2.0","8.0","6.0"\n',
    ],
)
def test_columns_are_understood(write: Write, read: Read, text: str) -> None:
    [labels] = one(write, read, text).labels
    assert [(shape.label, shape.corners) for shape in labels.shapes] == [("ball", (4, 2, 8, 6))]


def test_numbers_up_to_one_are_shares_of_the_image(write: Write, read: Read) -> None:
    record = one(write, read, "image,label,xmin,ymin,xmax,ymax\na.png,ball,0.1,0.2,0.5,1\n")
    assert record.scale == (1.0, 1.0)


def test_rows_of_one_image_belong_together_wherever_they_stand(write: Write, read: Read) -> None:
    write("b.png", "")
    write("a.png", "")
    write("boxes.csv", "b.png,1,1,5,5,ball\na.png,1,1,5,5,ball\nb.png,2,2,6,6,crate\n")
    b, a = read()
    assert [shape.label for shape in b.labels[0].shapes] == ["ball", "crate"]
    assert len(a.labels[0].shapes) == 1


def test_a_row_without_a_box_is_a_negative(write: Write, read: Read) -> None:
    record = one(write, read, "image,label,xmin,ymin,xmax,ymax\na.png,,,,,\n")
    assert [labels.shapes for labels in record.labels] == [()]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.png,ball,1,wide,3,4", "line 2: y1 is 'wide', no number"),
        ("a.png,,1,2,3,4", "line 2: the box has no label"),
    ],
)
def test_a_row_that_is_not_understood_leaves_its_image_out(
    write: Write, read: Read, row: str, why: str
) -> None:
    record = one(write, read, f"image,label,xmin,ymin,xmax,ymax\n{row}\na.png,ball,1,2,3,4\n")
    assert (record.problem, record.labels) == (why, ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"name,colour\na,b\n", "the first row is 'name, colour'; needed are columns for the image"),
        (b"image,label,xmin,ymin,xmax,ymax\n,ball,1,2,3,4\n", "line 2: names no image"),
        (b"image,label,xmin,ymin,xmax,ymax\nGr\xf6\xdfe.png,ball,1,2,3,4\n", "not UTF-8"),
    ],
)
def test_a_csv_that_is_not_understood_is_refused(write: Write, read: Read, text: bytes, why: str) -> None:
    write("boxes.csv", text)
    with pytest.raises(IntakeError, match=why):
        read()
