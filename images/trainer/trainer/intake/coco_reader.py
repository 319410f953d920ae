"""Reads COCO's JSON as it streams by; memory does not grow with the file."""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import ijson

from trainer.intake.named_images import ImageFiles, NotFound, base_of
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
    in_short,
    number,
    stated_size,
    turned,
)
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE images (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE, name TEXT, base TEXT, width INTEGER, height INTEGER
);
CREATE INDEX images_by_base ON images (base, name);
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
        "SELECT images.number, name, width, height, body, "
        "EXISTS (SELECT 1 FROM images AS o WHERE o.base = images.base AND o.name < images.name) "
        "OR EXISTS (SELECT 1 FROM images AS o WHERE o.base = images.base AND o.name > images.name) "
        "FROM images LEFT JOIN boxes ON boxes.key = images.key "
        "ORDER BY images.number, boxes.number"
    )
    for _, rows in groupby(store.rows(query), key=itemgetter(0)):
        group = list(rows)
        _, name, width, height, _, several = group[0]
        bodies = [json.loads(body) for *_, body, _ in group if body is not None]
        yield _record(path, files, str(name), (width, height), bodies, labelled, not several)
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
            key, size = str(row["id"]), stated_size(row.get("width"), row.get("height")) or (None, None)
            if store.row("SELECT 1 FROM images WHERE key = ?", (key,)):
                raise IntakeError(f"{path}: two images have the id {key}")
            store.run(
                "INSERT INTO images (key, name, base, width, height) VALUES (?, ?, ?, ?, ?)",
                (key, str(name), base_of(str(name)), *size),
            )
    with path.open("rb") as file:
        rows = ijson.items(file, "annotations.item", use_float=True)
        found = (_stored_box(path, row, categories) for row in rows)
        store.run_many("INSERT INTO boxes (key, body) VALUES (?, ?)", found)
    with path.open("rb") as file:
        labelled = any(name == "annotations" for name in _keys(file))
    return store, labelled


def _keys(file: Any) -> Iterator[str]:
    """The names at the top of a JSON document."""
    for prefix, event, value in ijson.parse(file):
        if prefix == "" and event == "map_key":
            yield str(value)


def _stored_box(path: Path, row: object, categories: Mapping[str, str]) -> tuple[str, str]:
    if not isinstance(row, Mapping):
        raise IntakeError(f"{path}: an annotation is {in_short(row)}, not an object with a bbox")
    return str(row.get("image_id")), json.dumps(_box(row, categories))


def _box(row: Mapping[str, Any], categories: Mapping[str, str]) -> list[Any]:
    """Label, kind, corners and score of an annotation; or a list of one text, which says what is wrong."""
    try:
        label = categories.get(str(row.get("category_id")))
        if label is None:
            raise BadShape(f"no category {row.get('category_id')!r}")
        kind, corners = _corners(row)
        score = row.get("score")
        told = None if score is None else number(score, "score")
        return [CROWD if row.get("iscrowd") == 1 else label, kind, *corners, told]
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
    raise BadShape(f"no bbox of four numbers but {in_short(box)}, and no polygon")


def _record(
    path: Path,
    files: ImageFiles,
    name: str,
    size: tuple[int | None, int | None],
    bodies: list[list[Any]],
    labelled: bool,
    alone: bool,
) -> Record:
    """alone: whether no other image has the same name in another folder."""
    width, height = size
    stated = (width, height) if width and height else None
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
        file = files.find(name, near, alone)
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
