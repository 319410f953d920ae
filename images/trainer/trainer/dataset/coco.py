"""Writes and reads labelled images as COCO's JSON, piece by piece."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import ijson

from trainer.dataset.labelled import Corners, SnapshotImage, rounded
from trainer.dataset.split import Side


def lines(
    classes: Sequence[str],
    images: Collection[SnapshotImage],
    more: Mapping[str, object],
    ignored: Sequence[str] = (),
) -> Iterator[str]:
    """COCO's JSON with `more` in front, with one line per image and per box.

    Category ids are 1 + the class's index. Ignored boxes have iscrowd 1. ignored: the labels of which all
    boxes are ignored; they are categories behind the classes, so that nothing is lost on the way.
    """
    yield "{"
    for name, value in more.items():
        yield f"{json.dumps(name)}: {json.dumps(value)},\n"
    categories = [{"id": index + 1, "name": name} for index, name in enumerate([*classes, *ignored])]
    yield f'"categories": {json.dumps(categories)},\n"images": ['
    yield from _rows(_image_row(image) for image in images)
    yield '\n],\n"annotations": ['
    yield from _rows(_box_rows(images))
    yield "\n]}\n"


def _rows(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    for position, row in enumerate(rows):
        yield (",\n" if position else "\n") + json.dumps(row)


def _image_row(image: SnapshotImage) -> dict[str, object]:
    return {
        "id": image.id,
        "file_name": image.file,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "task": image.task,
        "side": image.side,
    }


def _box_rows(images: Iterable[SnapshotImage]) -> Iterator[dict[str, object]]:
    boxes = (
        (image.id, label, box, crowd)
        for image in images
        for rows, crowd in ((image.boxes, False), (image.ignored, True))
        for label, box in rows
    )
    for number, (image_id, label, corners, crowd) in enumerate(boxes, start=1):
        yield annotation(number, image_id, label, corners, crowd)


def annotation(
    number: int, image_id: int, label: int, corners: Corners, crowd: bool = False
) -> dict[str, Any]:
    """A box in COCO's form: x, y, width, height in pixels. crowd: whether it is neither truth nor error."""
    x1, y1, x2, y2 = corners
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": int(crowd),
    }


def read_value(path: Path, name: str, otherwise: Any = None) -> Any:
    """The value of a key in a JSON file. The file is read only as far as needed.

    otherwise: the value where the file has no such key.

    Raises:
        OSError: there is no file. KeyError: it has no such key. ijson.JSONError: it is no JSON.
    """
    with path.open("rb") as file:
        for value in ijson.items(file, name, use_float=True):
            return value
    if otherwise is None:
        raise KeyError(name)
    return otherwise


def read_images(path: Path) -> Iterator[SnapshotImage]:
    """The images in a file that `lines` wrote, each with its boxes. The boxes must be in the images' order.

    Raises:
        OSError, ValueError, KeyError, TypeError, ijson.JSONError: there is no file, or it is damaged.
    """
    with path.open("rb") as one, path.open("rb") as other:
        rows = ijson.items(other, "annotations.item", use_float=True)
        annotated = groupby(rows, key=itemgetter("image_id"))
        following, boxes = next(annotated, (None, iter(())))
        for row in ijson.items(one, "images.item", use_float=True):
            found = []
            if following == row["id"]:
                found = [_box(box) for box in boxes]
                following, boxes = next(annotated, (None, iter(())))
            yield SnapshotImage(
                id=int(row["id"]),
                task=row["task"],
                file=row["file_name"],
                sha256=row["sha256"],
                width=row["width"],
                height=row["height"],
                side=Side(row["side"]),
                xyxy=tuple(corners for corners, _, crowd in found if not crowd),
                labels=tuple(label for _, label, crowd in found if not crowd),
                ignored=tuple((label, corners) for corners, label, crowd in found if crowd),
            )
        if following is not None:
            raise ValueError(f"the boxes of image {following} don't stand in the images' order")


def _box(row: Mapping[str, Any]) -> tuple[Corners, int, bool]:
    x, y, w, h = row["bbox"]
    return rounded((x, y, x + w, y + h)), row["category_id"] - 1, bool(row.get("iscrowd"))


def complete_lines(
    info: Mapping[str, object], classes: Sequence[str], images: Collection[SnapshotImage]
) -> Iterator[str]:
    """COCO's JSON with all the keys that its readers ask for, in pieces. Labels have no supercategory."""
    categories = [{"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(classes)]
    yield f'{{"info": {json.dumps(info)},\n"licenses": [],\n'
    yield f'"categories": {json.dumps(categories)},\n"images": ['
    yield from _rows(_image_row(image) for image in images)
    yield '\n],\n"annotations": ['
    yield from _rows(_with_outlines(_box_rows(images), images))
    yield "\n]}\n"


def _with_outlines(
    rows: Iterable[Mapping[str, Any]], images: Iterable[SnapshotImage]
) -> Iterator[Mapping[str, Any]]:
    """The boxes with what COCO's tools draw masks from: the box as a polygon, or as runs for a crowd."""
    sizes = iter(images)
    image = None
    for row in rows:
        while image is None or image.id != row["image_id"]:
            image = next(sizes)
        x, y, width, height = (round(number, 2) for number in row["bbox"])
        right, bottom = round(x + width, 2), round(y + height, 2)
        outline: object = [[x, y, right, y, right, bottom, x, bottom]]
        if row["iscrowd"]:
            outline = runs((x, y, right, bottom), image.width, image.height)
        box = {"bbox": [x, y, width, height], "area": round(width * height, 2), "segmentation": outline}
        yield {**row, **box}


def runs(corners: Corners, width: int, height: int) -> dict[str, object]:
    """The box as COCO's run lengths: how many pixels are outside, inside, outside, …, down each column.

    >>> runs((1, 1, 2, 3), width=3, height=4)
    {'size': [4, 3], 'counts': [5, 2, 5]}
    """
    left, top, right, bottom = (round(corner) for corner in corners)
    counts = [left * height + top]
    for column in range(left, right):
        after = height - bottom + top if column < right - 1 else height - bottom + (width - right) * height
        counts += [bottom - top, after]
    return {"size": [height, width], "counts": counts if right > left else [width * height]}
