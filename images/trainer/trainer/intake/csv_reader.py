"""Reads a CSV of boxes: a row for each box, with a header or without."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby
from operator import itemgetter
from pathlib import Path
from typing import TextIO

from trainer.intake.named_images import ImageFiles, NotFound, base_of, is_image
from trainer.intake.records import BadShape, Corners, IntakeError, Labels, Record, Shape, number, stated_size
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE boxes (
    number INTEGER PRIMARY KEY, name TEXT, base TEXT, body TEXT, largest REAL, whole INTEGER
);
CREATE INDEX boxes_by_base ON boxes (base, name);
CREATE INDEX boxes_by_name ON boxes (name);
"""
_LONGEST = 1 << 20
_NAMES = {
    "image": (
        "image",
        "filename",
        "file_name",
        "file",
        "image_path",
        "imagepath",
        "path",
        "image_id",
        "imageid",
    ),
    "label": ("label", "class", "class_name", "classname", "category", "category_name", "name", "label_name"),
    "x1": ("xmin", "x1", "x_min", "left", "bbox_x1"),
    "y1": ("ymin", "y1", "y_min", "top", "bbox_y1"),
    "x2": ("xmax", "x2", "x_max", "right", "bbox_x2"),
    "y2": ("ymax", "y2", "y_max", "bottom", "bbox_y2"),
    "x": ("x", "bbox_x"),
    "y": ("y", "bbox_y"),
    "width": ("w", "bbox_width", "bbox_w", "box_width", "width"),
    "height": ("h", "bbox_height", "bbox_h", "box_height", "height"),
    "image_width": ("image_width", "img_width", "imagewidth"),
    "image_height": ("image_height", "img_height", "imageheight"),
    "score": ("score", "confidence", "conf", "probability"),
}
_BY_CORNERS, _BY_SIZE = ("x1", "y1", "x2", "y2"), ("x", "y", "width", "height")
NEEDED = (
    "columns for the image, the label, and either xmin, ymin, xmax, ymax or x, y, width, height; without a "
    "header: image,xmin,ymin,xmax,ymax,label or image,label,xmin,ymin,xmax,ymax"
)


@dataclass(frozen=True)
class _Columns:
    """Which column holds what, counted from 0. by_size: the box is x, y, width and height."""

    at: Mapping[str, int]
    by_size: bool
    header: bool

    def value(self, row: Sequence[str], name: str) -> str:
        position = self.at.get(name)
        return row[position].strip() if position is not None and position < len(row) else ""


def read(path: Path, files: ImageFiles) -> Iterator[Record]:
    """The images that a CSV names, in the order in which they come first.

    A row with an image and nothing else makes a negative. Numbers are pixels; if none is above 1 and one is
    no whole number, they are shares of the image.

    Raises:
        IntakeError: the file cannot be read, or its columns cannot be understood.
    """
    store = Scratch(_SCHEMA)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            _fill(store, path, _lines(path, file))
    except UnicodeDecodeError as error:
        raise IntakeError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except csv.Error as error:
        raise IntakeError(f"{path}: {error}") from error
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}") from error
    row = store.row("SELECT max(largest), min(whole) FROM boxes")
    shares = row is not None and row[0] is not None and row[0] <= 1.0 and row[1] == 0
    query = (
        "SELECT boxes.name, body, "
        "EXISTS (SELECT 1 FROM boxes AS o WHERE o.base = boxes.base AND o.name < boxes.name) "
        "OR EXISTS (SELECT 1 FROM boxes AS o WHERE o.base = boxes.base AND o.name > boxes.name) "
        "FROM boxes "
        "JOIN (SELECT name, min(number) AS first FROM boxes GROUP BY name) AS firsts "
        "ON firsts.name = boxes.name ORDER BY first, number"
    )
    for name, rows in groupby(store.rows(query), key=itemgetter(0)):
        group = list(rows)
        bodies = [json.loads(body) for _, body, _ in group]
        yield _record(path, files, str(name), bodies, shares, not group[0][2])


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file. Raises IntakeError: one is longer than any row of a box."""
    for position in count(1):
        line = file.readline(_LONGEST)
        if len(line) == _LONGEST:
            raise IntakeError(f"{path}, line {position}: longer than {_LONGEST:,} characters")
        if not line:
            return
        yield line


def _fill(store: Scratch, path: Path, file: Iterator[str]) -> None:
    first = next(file, "")
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(chain([first], file), delimiter=delimiter)
    head = next(rows, [])
    columns = _columns(path, head)
    for row in rows if columns.header else chain([head], rows):
        if not any(cell.strip() for cell in row):
            continue
        name = columns.value(row, "image")
        if not name:
            raise IntakeError(f"{path}, line {rows.line_num}: names no image")
        try:
            body, corners = _box(columns, row)
        except BadShape as error:
            body, corners = [f"line {rows.line_num}: {error}"], None
        largest = max(map(abs, corners)) if corners else None
        whole = int(all(side == int(side) for side in corners)) if corners else None
        store.run(
            "INSERT INTO boxes (name, base, body, largest, whole) VALUES (?, ?, ?, ?, ?)",
            (name, base_of(name), json.dumps(body), largest, whole),
        )


def _columns(path: Path, head: Sequence[str]) -> _Columns:
    names = [cell.strip().lower().replace(" ", "_") for cell in head]
    at = {
        what: names.index(found)
        for what, spellings in _NAMES.items()
        if (found := next((name for name in spellings if name in names), None)) is not None
    }
    corners, sized = (all(name in at for name in group) for group in (_BY_CORNERS, _BY_SIZE))
    if "image" in at and "label" in at and (corners or sized):
        if corners:  # width and height are the image's then
            at.setdefault("image_width", at.get("width", -1))
            at.setdefault("image_height", at.get("height", -1))
        kept = {what: position for what, position in at.items() if position >= 0}
        return _Columns(kept, not corners, True)
    for order in (("image", *_BY_CORNERS, "label"), ("image", "label", *_BY_CORNERS)):
        if len(head) >= len(order) and _fits(order, head):
            return _Columns({name: position for position, name in enumerate(order)}, False, False)
    raise IntakeError(f"{path}: the first row is {', '.join(head)[:200]!r}; needed are {NEEDED}")


def _fits(order: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row without a header has its columns in this order. Its box may be empty."""
    cells = dict(zip(order, (cell.strip() for cell in row), strict=False))
    numbers = [cells[name] for name in _BY_CORNERS]
    empty = not any(numbers) and not cells["label"]
    return is_image(cells["image"]) and (
        empty or (all(_is_number(cell) for cell in numbers) and bool(cells["label"]))
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _box(columns: _Columns, row: Sequence[str]) -> tuple[list[object], Corners | None]:
    """Label, corners, score and the image's size of a row, and the corners once more; without a box: the size
    alone, and None.
    """
    size = [columns.value(row, name) for name in ("image_width", "image_height")]
    group = _BY_SIZE if columns.by_size else _BY_CORNERS
    cells = [columns.value(row, name) for name in group]
    label = columns.value(row, "label")
    if not any(cells):
        return ["", *size], None
    if not label:
        raise BadShape("the box has no label")
    a, b, c, d = (number(cell, name) for cell, name in zip(cells, group, strict=True))
    corners = (
        (a, b, number(a + c, "x + width"), number(b + d, "y + height")) if columns.by_size else (a, b, c, d)
    )
    score = columns.value(row, "score")
    return [label, *corners, number(score, "score") if score else None, *size], corners


def _record(
    path: Path, files: ImageFiles, name: str, bodies: list[list[object]], shares: bool, alone: bool
) -> Record:
    """alone: whether no other image has the same name in another folder."""
    problem = next((str(body[0]) for body in bodies if len(body) == 1), "")
    boxes = [body for body in bodies if len(body) == 8]
    shapes = tuple(Shape(str(body[0]), _four(body[1:5]), score=_score(body[5])) for body in boxes)
    sizes = {tuple(body[-2:]) for body in bodies if len(body) > 1 and all(body[-2:])}
    stated = stated_size(*sizes.pop()) if len(sizes) == 1 else None
    try:
        file, missing = files.find(name, (path.parent, path.parent / "images"), alone), ""
    except NotFound as error:
        file, missing = None, str(error)
    return Record(
        name=files.name_of(file) if file else name,
        origin=path.name,
        file=file,
        scale=(1.0, 1.0) if shares else stated,
        stated=stated,
        labels=() if problem else (Labels(shapes),),
        missing=missing,
        problem=problem,
    )


def _four(values: Sequence[object]) -> Corners:
    x1, y1, x2, y2 = (float(str(value)) for value in values)
    return x1, y1, x2, y2


def _score(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
