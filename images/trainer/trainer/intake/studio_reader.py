"""Reads Label Studio's tasks: of its JSON export, and of its API."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import ijson

from labelloop import task_value
from labelloop.images import SUFFIXES
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
    in_short,
    number,
    stated_size,
    turned,
)

_UPLOADS = re.compile(r"^(?:.*/)?upload/\d+/")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_EMAIL = re.compile(r"[^\s,<>]+@[^\s,<>]+")
_CLOUD = ("s3", "gs", "azure-blob", "azure_blob", "azure")
_GEOMETRY = ("rectanglelabels", "labels", "polygonlabels", "ellipselabels")
_MARKS = ("brushlabels", "keypointlabels", "bitmasklabels", "vectorlabels", "magicwand", "cubelabels")
"""Results that mark objects, but in no way that has a box."""


@dataclass(frozen=True)
class Source:
    """What is known of the project that the tasks come from.

    key: the image's key in the tasks' data; "" where that has to be found out. people: e-mail addresses by
    user id. base: its URL, "" for an export.
    """

    key: str = ""
    people: Mapping[int, str] = field(default_factory=dict)
    base: str = ""


def read_export(path: Path, files: ImageFiles) -> Iterator[Record]:
    """The tasks of a JSON export.

    Raises:
        IntakeError: the file is no JSON of Label Studio's.
    """
    try:
        with path.open("rb") as file:
            yield from read(ijson.items(file, "item", use_float=True), Source(), path.name, files)
    except ijson.JSONError as error:
        raise IntakeError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}") from error


def read(
    tasks: Iterable[Mapping[str, Any]], source: Source, origin: str, files: ImageFiles
) -> Iterator[Record]:
    """One image for each task. A task without a submitted or skipped annotation is one that nobody labelled.

    Raises:
        IntakeError: a row is no task.
    """
    for position, task in enumerate(tasks, start=1):
        data = task.get("data") if isinstance(task, Mapping) else None
        if not isinstance(data, Mapping):
            raise IntakeError(
                f"{origin}: row {position} has no `data`; export the project as JSON, not as JSON-MIN or CSV"
            )
        yield _record(task, data, source, f"{origin}, task {task.get('id', position)}", files)


def _record(
    task: Mapping[str, Any], data: Mapping[str, Any], source: Source, origin: str, files: ImageFiles
) -> Record:
    try:
        key = source.key or image_key(data)
        url = task_value.look_up(data, key)
        if not isinstance(url, str) or not url.strip():
            raise BadShape(f"{key!r} of the task's data names no image")
        if url.startswith("data:"):
            raise BadShape("the image lies within the task's data, as a data: URI")
        name = name_of_url(url)
    except BadShape as error:
        return Record(str(task.get("id")), origin, problem=str(error))
    annotations = task.get("annotations") or task.get("completions") or []
    problem, labels = "", tuple[Labels, ...]()
    if not isinstance(annotations, list):
        return Record(str(task.get("id")), origin, problem=f"its annotations are {in_short(annotations)}")
    try:
        labels = tuple(_labels(row, source) for row in annotations if isinstance(row, Mapping))
    except BadShape as error:
        problem = str(error)
    try:
        file, missing = (files.find(name) if files.roots else None), ""
    except NotFound as error:
        file, missing = None, str(error)
    fetched = None if file else _address(url, source, task)
    return Record(
        name=_without_prefix(files.name_of(file) if file else name),
        origin=origin,
        file=file,
        url=fetched,
        scale=(100.0, 100.0),
        stated=_stated(annotations),
        labels=labels,
        data={name: value for name, value in data.items() if name != key},
        missing="" if file or fetched else missing or "the task names no file that is here",
        problem=problem,
    )


def _without_prefix(name: str) -> str:
    """A path without what Label Studio put before the name of an uploaded file."""
    folder, slash, base = _UPLOADS.sub("", name).rpartition("/")
    return folder + slash + _UPLOAD_PREFIX.sub("", base)


def _address(url: str, source: Source, task: Mapping[str, Any]) -> str | None:
    """Where the image can be fetched; None where nobody serves it. For a cloud, Label Studio is asked."""
    scheme = url.partition("://")[0].lower()
    if source.base and scheme in _CLOUD:
        query = urlencode({"fileuri": base64.urlsafe_b64encode(url.encode()).decode()})
        return f"/tasks/{task.get('id')}/resolve/?{query}"
    return url if source.base or scheme in ("http", "https") else None


def image_key(data: Mapping[str, Any]) -> str:
    """The only key of a task's data that names an image.

    Raises:
        BadShape: none does, or several do.
    """
    found = [key for key, value in data.items() if isinstance(value, str) and _names_an_image(value)]
    if len(found) == 1:
        return str(found[0])
    if "image" in found:
        return "image"
    listed = ", ".join(map(str, found or data)) or "nothing"
    raise BadShape(f"the task's data names {'several images' if found else 'no image'}: {listed}")


def _names_an_image(value: str) -> bool:
    return name_of_url(value).lower().endswith(SUFFIXES) or "/data/upload/" in value


def name_of_url(url: str) -> str:
    """The path that a task's URL ends with.

    >>> name_of_url("/data/local-files/?d=images/a%20b.jpg"), name_of_url("https://x.org/c/d.png?key=1")
    ('images/a b.jpg', 'c/d.png')
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url
    for query in ("d", "filepath", "fileuri"):
        if named := parse_qs(parts.query).get(query):
            return named[0].lstrip("/")
    fragment = (
        f"#{parts.fragment}" if parts.fragment and not parts.query else ""
    )  # of a name that was not quoted
    return unquote(parts.path + fragment).lstrip("/")


def _stated(annotations: Sequence[Any]) -> tuple[int, int] | None:
    for row in annotations:
        for result in (row.get("result") or []) if isinstance(row, Mapping) else []:
            if isinstance(result, Mapping):
                size = stated_size(result.get("original_width"), result.get("original_height"))
                if size is not None:
                    return size
    return None


def _labels(row: Mapping[str, Any], source: Source) -> Labels:
    results = row.get("result")
    if not isinstance(results, list) or not all(isinstance(result, Mapping) for result in results):
        raise BadShape(f"annotation {row.get('id')}: its result is no list of regions")
    try:
        shapes = tuple(shape for result in results for shape in _shapes(result, results))
    except BadShape as error:
        raise BadShape(f"annotation {row.get('id')}: {error}") from error
    if odd := [kind for kind in (result.get("type") for result in results) if not isinstance(kind, str)]:
        raise BadShape(f"annotation {row.get('id')}: a region whose type is {in_short(odd[0])}")
    lead = row.get("lead_time")
    return Labels(
        shapes=shapes,
        others=tuple(result for result in results if result.get("type") not in (*_GEOMETRY, "rectangle")),
        source_id=str(row.get("unique_id") or row.get("id") or ""),
        by=_author(row, source.people),
        created_at=_date(row, "created_at"),
        updated_at=_date(row, "updated_at") or _date(row, "created_at"),
        lead_time=None if lead is None else number(lead, "lead_time"),
        was_cancelled=bool(row.get("was_cancelled")),
        ground_truth=bool(row.get("ground_truth")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _date(row: Mapping[str, Any], name: str) -> str | None:
    """A date in ISO 8601, of UTC where it has no time zone; None when there is none.

    Raises:
        BadShape: it cannot be read.
    """
    text = _text(row.get(name))
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadShape(f"annotation {row.get('id')}: {name} is {in_short(text)}, no date") from None
    return found.isoformat().replace("+00:00", "Z")


def _author(row: Mapping[str, Any], people: Mapping[int, str]) -> str | None:
    """The e-mail address of the person who made an annotation; None when the source does not tell it."""
    who = row.get("completed_by")
    if isinstance(who, Mapping):
        return _text(who.get("email"))
    if isinstance(who, int) and who in people:
        return people[who]
    told = _EMAIL.search(str(row.get("created_username") or (who if isinstance(who, str) else "")))
    return told.group() if told else f"user {who}" if who is not None else None


def _shapes(result: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Iterator[Shape]:
    kind, value = result.get("type"), result.get("value")
    if kind in _MARKS:
        raise BadShape(f"a region of the type {kind}, which has no box")
    if kind == "rectangle" and not any(
        other.get("id") == result.get("id") and other.get("type") == "labels" for other in results
    ):
        raise BadShape("a rectangle without a label")
    if kind not in _GEOMETRY:
        return
    if not isinstance(value, Mapping):
        raise BadShape(f"a region whose value is {in_short(value)}")
    if "start" in value:
        return
    names = value.get(str(kind))
    if not isinstance(names, list) or not names:
        raise BadShape("a region without a label")
    if odd := [name for name in names if not isinstance(name, str | int | float)]:
        raise BadShape(f"a region whose label is {in_short(odd[0])}")
    shape, corners = _corners(value, result)
    score = result.get("score")
    for name in dict.fromkeys(map(str, names)):
        yield Shape(name, corners, shape, None if score is None else number(score, "score"))


def _corners(value: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[ShapeKind, Corners]:
    """In percent of the image. A turned shape is turned in pixels, whose sides are equally long."""
    if isinstance(value.get("points"), list):
        points = value["points"]
        if not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise BadShape("a polygon whose points are not two numbers each")
        return ShapeKind.POLYGON, hull((number(x, "a point"), number(y, "a point")) for x, y in points)
    width, height = (number(result.get(f"original_{side}") or 100, side) for side in ("width", "height"))
    x, y = (number(value.get(name), name) for name in ("x", "y"))
    degrees = number(value.get("rotation") or 0, "rotation")
    if "radiusX" in value:
        rx, ry = (number(value.get(name), name) for name in ("radiusX", "radiusY"))
        box, kind, about = (x - rx, y - ry, x + rx, y + ry), ShapeKind.POLYGON, (x, y)
    else:
        w, h = (number(value.get(name), name) for name in ("width", "height"))
        kind = ShapeKind.ROTATED if degrees % 360 else ShapeKind.BOX
        box, about = (x, y, x + w, y + h), (x, y)
    if not degrees % 360:
        return kind, box
    across, down = width / 100, height / 100
    x1, y1, x2, y2 = box
    in_pixels = (x1 * across, y1 * down, x2 * across, y2 * down)
    x1, y1, x2, y2 = turned(in_pixels, degrees, (about[0] * across, about[1] * down))
    return kind, (x1 / across, y1 / down, x2 / across, y2 / down)
