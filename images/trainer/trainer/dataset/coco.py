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
    classes: Sequence[str], images: Collection[SnapshotImage], more: Mapping[str, object]
) -> Iterator[str]:
    """COCO's JSON with `more` in front, with one line per image and per box.

    Category ids are 1 + the class's index.
    """
    yield "{"
    for name, value in more.items():
        yield f"{json.dumps(name)}: {json.dumps(value)},\n"
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    yield f'"categories": {json.dumps(categories)},\n"images": ['
    yield from rows(image_row(image) for image in images)
    yield '\n],\n"annotations": ['
    yield from rows(box_rows(images))
    yield "\n]}\n"


def rows(values: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """The rows of a JSON list, a line each, in pieces to be written as they come."""
    for position, row in enumerate(values):
        yield (",\n" if position else "\n") + json.dumps(row)


def image_row(image: SnapshotImage) -> dict[str, object]:
    """An image in COCO's form, and what we keep of it besides."""
    return {
        "id": image.id,
        "file_name": image.file,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "task": image.task,
        "side": image.side,
    }


def box_rows(images: Iterable[SnapshotImage]) -> Iterator[dict[str, Any]]:
    """The boxes of the images in COCO's form, in the images' order, numbered from 1."""
    boxes = ((image.id, label, box) for image in images for label, box in image.boxes)
    for number, (image_id, label, corners) in enumerate(boxes, start=1):
        yield annotation(number, image_id, label, corners)


def annotation(number: int, image_id: int, label: int, corners: Corners) -> dict[str, Any]:
    """A box in COCO's form: x, y, width, height in pixels."""
    x1, y1, x2, y2 = corners
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }


def read_value(path: Path, name: str) -> Any:
    """The value of a key in a JSON file. The file is read only as far as needed.

    Raises:
        OSError: there is no file. KeyError: it has no such key. ijson.JSONError: it is no JSON.
    """
    with path.open("rb") as file:
        for value in ijson.items(file, name, use_float=True):
            return value
    raise KeyError(name)


def read_images(path: Path) -> Iterator[SnapshotImage]:
    """The images in a file that `lines` wrote, each with its boxes. The boxes must be in the images' order.

    Raises:
        OSError, ValueError, KeyError, TypeError, ijson.JSONError: there is no file, or it is damaged.
    """
    with path.open("rb") as one, path.open("rb") as other:
        found_rows = ijson.items(other, "annotations.item", use_float=True)
        annotated = groupby(found_rows, key=itemgetter("image_id"))
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
                xyxy=tuple(corners for corners, _ in found),
                labels=tuple(label for _, label in found),
            )
        if following is not None:
            raise ValueError(f"the boxes of image {following} don't stand in the images' order")


def _box(row: Mapping[str, Any]) -> tuple[Corners, int]:
    x, y, w, h = row["bbox"]
    return rounded((x, y, x + w, y + h)), row["category_id"] - 1
