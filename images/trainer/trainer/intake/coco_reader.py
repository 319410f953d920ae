"""Reads COCO's JSON as it streams by; memory does not grow with the file."""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import ijson

from trainer.intake.named_images import ImageFiles, NotFound
from trainer.intake.records import (
    CROWD,
    BadShape,
    Corners,
    IntakeError,
    Labels,
    Record,
    Shape,
    ShapeKind,
    hull,
    number,
    turned,
)
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE images (number INTEGER PRIMARY KEY, key TEXT UNIQUE, name TEXT, width REAL, height REAL);
CREATE TABLE boxes (number INTEGER PRIMARY KEY, key TEXT, body TEXT);
CREATE INDEX boxes_by_image ON boxes (key);
"""


def read(path: Path, files: ImageFiles) -> Iterator[Record]:
    """The images of a COCO file, in its order.

    An image without an annotation is a negative; in a file without a list of annotations, it is not labelled.
    Boxes count where there are boxes and polygons beside them. Crowd regions have the label CROWD.

    Raises:
        IntakeError: the file is no COCO, or two of its images have one id.
    """
    try:
        categories = _categories(path)
        store, labelled = _stored(path, categories)
    except ijson.JSONError as error:
        raise IntakeError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}") from error
    query = (
        "SELECT images.number, name, width, height, body "
        "FROM images LEFT JOIN boxes ON boxes.key = images.key "
        "ORDER BY images.number, boxes.number"
    )
    for _, rows in groupby(store.rows(query), key=itemgetter(0)):
        group = list(rows)
        _, name, width, height, _ = group[0]
        bodies = [json.loads(body) for *_, body in group if body is not None]
        yield _record(path, files, str(name), (width, height), bodies, labelled)
    orphans = "SELECT key, count(*) FROM boxes WHERE key NOT IN (SELECT key FROM images) GROUP BY key"
    for key, count in store.rows(orphans):
        yield Record(
            f"image {key}", path.name, problem=f"the file lists no such image, but {count} of its annotations"
        )


def _categories(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        rows = ijson.items(file, "categories.item", use_float=True)
        return {str(row.get("id")): str(row.get("name")) for row in rows if isinstance(row, Mapping)}


def _stored(path: Path, categories: Mapping[str, str]) -> tuple[Scratch, bool]:
    store = Scratch(_SCHEMA)
    with path.open("rb") as file:
        for position, row in enumerate(ijson.items(file, "images.item", use_float=True), start=1):
            name = row.get("file_name") if isinstance(row, Mapping) else None
            if not name or row.get("id") is None:
                raise IntakeError(f"{path}: image in row {position} has no file_name or id")
            key, size = str(row["id"]), (_size(row.get("width")), _size(row.get("height")))
            if store.row("SELECT 1 FROM images WHERE key = ?", (key,)):
                raise IntakeError(f"{path}: two images have the id {key}")
            store.run(
                "INSERT INTO images (key, name, width, height) VALUES (?, ?, ?, ?)", (key, str(name), *size)
            )
    with path.open("rb") as file:
        rows = ijson.items(file, "annotations.item", use_float=True)
        found = ((str(row.get("image_id")), json.dumps(_box(row, categories))) for row in rows)
        store.run_many("INSERT INTO boxes (key, body) VALUES (?, ?)", found)
    with path.open("rb") as file:
        labelled = any(name == "annotations" for name in _keys(file))
    return store, labelled


def _keys(file: Any) -> Iterator[str]:
    """The names at the top of a JSON document."""
    for prefix, event, value in ijson.parse(file):
        if prefix == "" and event == "map_key":
            yield str(value)


def _size(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _box(row: Mapping[str, Any], categories: Mapping[str, str]) -> list[Any]:
    """Label, kind, corners and score of an annotation; or a list of one text, which says what is wrong."""
    try:
        label = categories.get(str(row.get("category_id")))
        if label is None:
            raise BadShape(f"no category {row.get('category_id')!r}")
        kind, corners = _corners(row)
        score = row.get("score")
        return [CROWD if row.get("iscrowd") == 1 else label, kind, *corners, score]
    except BadShape as error:
        return [f"annotation {row.get('id')}: {error}"]


def _corners(row: Mapping[str, Any]) -> tuple[ShapeKind, Corners]:
    box = row.get("bbox")
    attributes = row.get("attributes")
    if isinstance(box, list) and len(box) in (4, 5):
        x, y, width, height = (number(side, "bbox") for side in box[:4])
        corners = (x, y, x + width, y + height)
        degrees = number(box[4], "the angle") if len(box) == 5 else 0.0
        if isinstance(attributes, Mapping):  # CVAT's
            degrees = degrees or number(attributes.get("rotation") or 0, "rotation")
        if degrees % 360:
            return ShapeKind.ROTATED, turned(corners, degrees, (x + width / 2, y + height / 2))
        return ShapeKind.BOX, corners
    polygons = row.get("segmentation")
    if isinstance(polygons, list) and polygons and all(isinstance(each, list) for each in polygons):
        flat = [[number(value, "segmentation") for value in each] for each in polygons]
        return ShapeKind.POLYGON, hull(
            point for each in flat for point in zip(each[::2], each[1::2], strict=False)
        )
    raise BadShape(f"no bbox of four numbers but {str(box)[:40]!r}, and no polygon")


def _record(
    path: Path,
    files: ImageFiles,
    name: str,
    size: tuple[float | None, float | None],
    bodies: list[list[Any]],
    labelled: bool,
) -> Record:
    width, height = size
    stated = (int(width), int(height)) if width and height else None
    wrong = next((body[0] for body in bodies if len(body) == 1), "")
    shapes = (
        ()
        if wrong
        else tuple(
            Shape(label, (x1, y1, x2, y2), ShapeKind(kind), score)
            for label, kind, x1, y1, x2, y2, score in bodies
        )
    )
    try:
        near = (path.parent, path.parent / "images", path.parent.parent, path.parent.parent / "images")
        file = files.find(name, near)
    except NotFound as error:
        file, missing = None, str(error)
    else:
        missing = ""
    return Record(
        name=files.name_of(file) if file else name,
        origin=path.name,
        file=file,
        scale=stated,
        stated=stated,
        labels=(Labels(shapes),) if labelled else (),
        missing=missing,
        problem=wrong,
    )
