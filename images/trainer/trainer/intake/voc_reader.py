"""Reads Pascal VOC's XML, one small file for each image."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from trainer.intake.named_images import ImageFiles, NotFound
from trainer.intake.records import (
    BadShape,
    Corners,
    IntakeError,
    Labels,
    Record,
    Shape,
    ShapeKind,
    hull,
    number,
    stated_size,
    turned,
)


@dataclass
class _Element:
    """An XML element with its text."""

    name: str
    text: str = ""
    children: list["_Element"] = field(default_factory=list)

    def all(self, name: str) -> list["_Element"]:
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> "_Element | None":
        return next(iter(self.all(name)), None)

    def get(self, name: str) -> str:
        """The text of the first child of this name; "" without one."""
        found = self.first(name)
        return found.text.strip() if found else ""


def is_voc(path: Path) -> bool:
    """Whether an XML file begins like Pascal VOC's."""
    try:
        with path.open("rb") as file:
            return b"<annotation" in file.read(400)
    except OSError:
        return False


def read(paths: Iterator[Path], files: ImageFiles) -> Iterator[Record]:
    """One image for each XML file. A file without an object makes a negative.

    Objects that are difficult or truncated are boxes like all others. Pascal VOC counts pixels from 1.
    """
    for path in paths:
        try:
            root = _parsed(path)
        except IntakeError as error:
            yield Record(path.stem, path.name, problem=str(error))
            continue
        if root.name == "annotation":
            yield _record(path, root, files)


def _record(path: Path, root: _Element, files: ImageFiles) -> Record:
    size = root.first("size")
    stated = stated_size(size.get("width"), size.get("height")) if size else None
    named = root.get("filename") or path.stem
    problem, labels, missing, file = "", tuple[Labels, ...](), "", None
    try:
        labels = (Labels(tuple(_shape(entry) for entry in root.all("object"))),)
    except BadShape as error:
        problem = f"{path.name}: {error}"
    above = path.parent.parent
    near = (path.parent, above / "JPEGImages", above / "images", above)
    try:
        file = files.find_stem(path.stem, near) or files.find(named, near)
    except NotFound as error:
        missing = str(error)
    return Record(
        name=files.name_of(file) if file else named,
        origin=path.name,
        file=file,
        scale=stated,
        stated=stated,
        labels=labels,
        missing=missing,
        problem=problem,
    )


def _shape(entry: _Element) -> Shape:
    label = entry.get("name")
    if not label:
        raise BadShape("an <object> has no <name>")
    try:
        kind, corners = _corners(entry)
    except BadShape as error:
        raise BadShape(f"<object> {label}: {error}") from error
    return Shape(label, corners, kind)


def _corners(entry: _Element) -> tuple[ShapeKind, Corners]:
    if box := entry.first("bndbox"):
        x1, y1, x2, y2 = (number(box.get(side), side) for side in ("xmin", "ymin", "xmax", "ymax"))
        return ShapeKind.BOX, (min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2), max(y1, y2))
    if box := entry.first("robndbox"):
        cx, cy, width, height = (number(box.get(name), name) for name in ("cx", "cy", "w", "h"))
        upright = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        degrees = math.degrees(number(box.get("angle") or 0, "angle"))
        return ShapeKind.ROTATED, turned(upright, degrees, (cx, cy))
    if polygon := entry.first("polygon"):
        values = {child.name: number(child.text, child.name) for child in polygon.children}
        count = sum(name.startswith("x") for name in values)
        try:
            points = [(values[f"x{i}"] - 1, values[f"y{i}"] - 1) for i in range(1, count + 1)]
        except KeyError as error:
            raise BadShape(f"the polygon lacks {error}") from error
        return ShapeKind.POLYGON, hull(points)
    raise BadShape("no <bndbox>")


def _parsed(path: Path) -> _Element:
    """The root of an XML file.

    Raises:
        IntakeError: it is not well-formed, or has a document type, whose entities could be anything.
    """
    parser = expat.ParserCreate()
    top = _Element("")
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        stack.append(_Element(name))
        stack[-2].children.append(stack[-1])

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*declaration: object) -> None:
        raise IntakeError(f"{path.name}: declares a document type; plain XML only")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: stack.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise IntakeError(f"{path.name}, line {error.lineno}: {expat.ErrorString(error.code)}") from error
    except (ValueError, LookupError) as error:  # an encoding that the parser does not know
        raise IntakeError(f"{path.name}: {error}; save it as UTF-8") from error
    except OSError as error:
        raise IntakeError(f"{path.name}: {error.strerror}") from error
    return top.children[0]
