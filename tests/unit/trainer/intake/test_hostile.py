"""Datasets that nobody made in good faith, or that a broken tool made: named, left out, never a crash."""

import json
from pathlib import Path
from typing import Any

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.named_images import ImageFiles
from trainer.intake.records import IntakeError
from trainer.words import printable

IMAGES = [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}]
BOX = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
VOC = "<annotation><filename>a.png</filename>{}</annotation>"
BOUNDS = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
OBJECT = f"<object><name>ball</name>{BOUNDS}</object>"
REGION = {
    "id": "r",
    "type": "rectanglelabels",
    "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["ball"]},
}
DEEP = "[" * 5000 + "]" * 5000


def coco(annotations: Any, images: Any = IMAGES) -> str:
    categories = [{"id": 1, "name": "ball"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def studio(**annotation: Any) -> str:
    row = {"id": 4, "result": [REGION], **annotation}
    return json.dumps([{"id": 1, "data": {"image": "/data/upload/1/a.png"}, "annotations": [row]}])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("l.json", coco([{**BOX, "score": "high"}]), "annotation 7: score is 'high', no number"),
        ("l.json", coco([{**BOX, "score": [1]}]), "annotation 7: score is '[1]', no number"),
        (
            "l.json",
            coco([{**BOX, "bbox": [0, 1, 1, 1]}]).replace('"bbox": [0', f'"bbox": [{DEEP}'),
            "annotation 7: bbox is a list, no number",
        ),
        ("a.xml", f'<?xml version="1.0" encoding="GBK"?>{VOC}', "a.xml: multi-byte encodings are not"),
        ("a.xml", f'<?xml version="1.0" encoding="foo"?>{VOC}', "a.xml: unknown encoding: foo; save it as"),
        ("l.csv", "image,x,y,w,h,label\na.png,1e308,1,1e308,1,ball\n", "line 2: x + width is inf, not fin"),
        ("l.json", studio(created_at="yesterday"), "annotation 4: created_at is 'yesterday', no date"),
        ("l.json", studio(created_at="0001-01-01T00:00:00+14:00"), "annotation 4: created_at is '0001-01-0"),
        ("l.json", studio(lead_time="long"), "lead_time is 'long', no number"),
        ("l.json", studio(result=[REGION | {"value": "x"}]), "annotation 4: a region whose value is 'x'"),
        ("l.json", studio(result=[REGION | {"type": None}]), "annotation 4: a region whose type is 'None'"),
        (
            "l.json",
            studio(result=[REGION | {"value": {**REGION["value"], "rectanglelabels": [{}]}}]),  # type: ignore[dict-item]
            "annotation 4: a region whose label is a dict",
        ),
        ("l.json", '[{"id": 1, "data": {"image": "a.png"}, "annotations": 5}]', "its annotations are '5'"),
    ],
)
def test_an_image_whose_labels_make_no_sense_is_left_out_by_name(
    write: Write, read: Read, name: str, content: str, why: str
) -> None:
    write("a.png", "")
    write(name, content)
    [record] = read()
    assert record.problem.startswith(why)
    assert not any(labels.shapes for labels in record.labels)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("l.json", coco([1]), "l.json: an annotation is '1', not an object with a bbox"),
        ("data.yaml", f"names: {DEEP}\n", "data.yaml: lists within lists, too deep to be read"),
        (
            "data.yaml",
            "a: &a [x]\nb: &b [*a, *a]\nnames: [*b]\n",
            "data.yaml: the name of class 0 is a list, no text",
        ),
        ("data.yaml", "names: [ball]\ntrain: {a: b}\n", "data.yaml: `train:` has a dict, no path"),
        ("data.yaml", f"names: [ball]\ntrain: {'x' * 300}\n", "is neither a folder nor a list of images"),
        (
            "l.csv",
            "image,xmin,ymin,xmax,ymax,label\n" + "x" * 1_100_000,
            "line 2: longer than 1,048,576 char",
        ),
        ("l.csv", "image," * 200_000, "l.csv, line 1: longer than 1,048,576 characters"),
    ],
)
def test_a_dataset_that_makes_no_sense_is_refused_by_name(
    write: Write, read: Read, name: str, content: str, why: str
) -> None:
    write("a.png", "")
    write(name, content)
    with pytest.raises(IntakeError) as error:
        read()
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", coco([BOX], [IMAGES[0] | {"width": 0.5, "height": 0.5}])),
        ("a.xml", VOC.format(f"<size><width>-40</width><height>-20</height></size>{OBJECT}")),
        ("l.csv", "image,xmin,ymin,xmax,ymax,label,image_width,image_height\na.png,1,1,5,5,ball,inf,inf\n"),
        ("l.csv", "image,xmin,ymin,xmax,ymax,label,image_width,image_height\na.png,1,1,5,5,ball,.5,.5\n"),
    ],
)
def test_a_size_that_no_image_has_is_none(write: Write, read: Read, name: str, content: str) -> None:
    write("a.png", "")
    write(name, content)
    [record] = read()
    assert (record.problem, record.stated, record.scale) == ("", None, None)
    [labels] = record.labels
    assert [shape.label for shape in labels.shapes] == ["ball"]


def test_names_that_no_file_can_have_are_missing(write: Write, read: Read) -> None:
    write("images/a.png", "")
    write("data.yaml", "names: [ball]\ntrain: l.txt\n")
    write("l.txt", f"{'x' * 5000}/{'y' * 300}.png\n../../etc/passwd.png\n/images/a.png\n")
    *gone, there = read()
    assert [record.missing.partition(";")[0] for record in gone] == ["the image is not in the dataset"] * 2
    assert there.name == "images/a.png" and there.missing == ""


def test_a_yolo_image_that_leads_out_of_the_dataset_is_not_read(
    write: Write, read: Read, tmp_path: Path
) -> None:
    outside = write("../private/b.png", "")
    write("images/a.png", "")
    (tmp_path / "set/images/b.png").symlink_to(outside)
    write("classes.txt", "ball\n")
    found = {record.name.rpartition("/")[2]: record for record in read()}
    assert found["a.png"].missing == ""
    assert found["b.png"].file is None
    assert found["b.png"].missing.startswith(
        "the link leads out of the dataset; IMAGES= names another folder"
    )
    with_folder = read(images=outside.parent)
    assert [record.missing for record in with_folder if record.name.endswith("b.png")] == [""]


def test_a_label_file_that_leads_out_of_the_dataset_is_not_read(
    write: Write, read: Read, tmp_path: Path
) -> None:
    """Its first word would stand in the message that it is no class."""
    secret = write("../private/token", "s3cret")
    write("images/a.png", "")
    (tmp_path / "set/images/a.txt").symlink_to(secret)
    write("classes.txt", "ball\n")
    [record] = read()
    assert record.labels == () and record.problem.startswith("the link leads out of the dataset")


def test_a_folder_that_leads_out_of_the_dataset_is_not_read(write: Write, read: Read, tmp_path: Path) -> None:
    outside = write("../set-of-another/a.png", "")
    write("real/b.png", "")
    (tmp_path / "set/linked").symlink_to(outside.parent)
    (tmp_path / "set/within").symlink_to("real")
    write("boxes.csv", "".join(f"{name},1,1,5,5,ball\n" for name in ("linked/a.png", "within/b.png")))
    gone, there = read()
    assert gone.file is None and gone.missing.startswith("the link leads out of the dataset")
    assert there.missing == "" and there.name == "within/b.png"


def test_a_file_that_cannot_be_looked_at_is_left_to_who_reads_it(tmp_path: Path) -> None:
    """As one in a folder that may be listed and not entered, after `chmod -R 644`. Root may enter all, so its
    name is too long here.
    """
    file = tmp_path / f"{'x' * 300}.png"
    with pytest.raises(OSError):
        file.is_symlink()
    assert ImageFiles([tmp_path]).inside(file) == file


@pytest.mark.parametrize("format_", ["coco", "csv"])
def test_an_image_of_a_name_in_two_folders_is_not_taken_for_the_other(
    write: Write, read: Read, format_: str
) -> None:
    """Only the second camera's frame is here: the first one's boxes do not belong to it."""
    write("images/0001.png", "")
    write("images/2.png", "")
    names = ("cam1/0001.png", "cam2/0001.png", "cam1/2.png")
    if format_ == "coco":
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        write("l.json", coco([{**BOX, "image_id": number} for number in range(3)], images))
    else:
        rows = "".join(f"{name},1,2,4,6,ball\n" for name in names)
        write("l.csv", f"image,xmin,ymin,xmax,ymax,label\n{rows}")
    *unclear, alone = read()
    assert alone.name == "images/2.png"
    assert [record.file for record in unclear] == [None, None]
    assert "in several folders, and images/0001.png could be any of them" in unclear[0].missing
    write("cam1/0001.png", "")
    first, second, _ = read()
    assert (first.name, second.file) == ("cam1/0001.png", None)


def test_names_give_a_terminal_no_commands() -> None:
    assert printable("a\x1b[2Jb\u202ec\td\n") == "a\\x1b[2Jb\\u202ec\td\n"
