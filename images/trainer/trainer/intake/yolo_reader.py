"""Reads YOLO's text files: of ultralytics with its data.yaml, of darknet, of Label Studio's export."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer.intake.named_images import (
    ImageFiles,
    NotFound,
    is_file,
    is_folder,
    is_image,
    parts_of,
    read_text,
)
from trainer.intake.records import (
    BadShape,
    IntakeError,
    Labels,
    Record,
    Shape,
    ShapeKind,
    hull,
    in_short,
    number,
)

NAME_FILES = ("classes.txt", "obj.names", "classes.names")
_SPLITS = ("train", "val", "valid", "test")


@dataclass(frozen=True)
class Yolo:
    """What a dataset's data.yaml says, or what stands for it.

    labels: by class number. places: the folders with images, and the lists of them; none: all images below
    `root`. keypoints: whether the lines go on with keypoints.
    """

    root: Path
    labels: Mapping[int, str]
    places: tuple[Path, ...] = ()
    keypoints: bool = False


def describe(root: Path, description: Path | None) -> Yolo:
    """A YOLO dataset. description: its data.yaml, or its file with a label in each line.

    Raises:
        IntakeError: the description is missing or cannot be understood.
    """
    if description is None:
        found = [
            path
            for folder in (root, root / "labels")
            for name in NAME_FILES
            if (path := folder / name).is_file()
        ]
        if not found:
            raise IntakeError(
                f"{root}: no data.yaml and no classes.txt, so the numbers of the classes have no names; "
                "write classes.txt with one label in each line, in the order of the numbers"
            )
        description = found[0]
    if description.suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in read_text(description).splitlines()]
        return Yolo(root, {index: name for index, name in enumerate(names) if name})
    try:
        # It leaves all values as they are written: a label may be called `yes` or `007`.
        content = yaml.load(read_text(description), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise IntakeError(f"{description}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise IntakeError(f"{description}: lists within lists, too deep to be read") from None
    if not isinstance(content, dict) or "names" not in content:
        raise IntakeError(f"{description}: no `names:` with the labels")
    return Yolo(
        root,
        _names(description, content["names"]),
        tuple(_places(description, content)),
        bool(content.get("kpt_shape")),
    )


def _names(description: Path, names: Any) -> dict[int, str]:
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    try:
        found = {int(key): name for key, name in rows.items()}
    except (AttributeError, TypeError, ValueError):
        raise IntakeError(
            f"{description}: `names:` is neither a list nor numbers with names but {in_short(names)}"
        ) from None
    if odd := [number for number, name in found.items() if not isinstance(name, str)]:
        raise IntakeError(f"{description}: the name of class {odd[0]} is {in_short(found[odd[0]])}, no text")
    return found


def _places(description: Path, content: Mapping[str, Any]) -> Iterator[Path]:
    seen: set[Path] = set()
    base = parts_of(_text(description, "path", content.get("path") or ""))
    for split in _SPLITS:
        values = content.get(split)
        for value in values if isinstance(values, list) else [values]:
            if not value:
                continue
            place = _place(description, base, _text(description, split, value))
            if place is None:
                raise IntakeError(
                    f"{description}: `{split}: {value}` is neither a folder nor a list of images below "
                    f"{description.parent}; write the path as it is from there"
                )
            if place not in seen:
                seen.add(place)
                yield place


def _text(description: Path, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise IntakeError(f"{description}: `{name}:` has {in_short(value)}, no path")
    return value


def _place(description: Path, base: Sequence[str], value: str) -> Path | None:
    """Where a path of a data.yaml is now. The dataset may have been made elsewhere, so that only the path's
    end is true.
    """
    parts = parts_of(value)
    for prefix in (base, ()):
        whole = (*prefix, *parts)
        for start in range(len(whole)):
            candidate = description.parent.joinpath(*whole[start:])
            if is_file(candidate) or is_folder(candidate):
                return candidate
    return description.parent if not parts else None


def read(dataset: Yolo, files: ImageFiles) -> Iterator[Record]:
    """The images of the dataset. An empty label file makes a negative; without one, nobody has labelled it.

    Raises:
        IntakeError: a list of images cannot be read.
    """
    seen: set[str] = set()
    for origin, image, missing in _images(dataset, files):
        name = files.name_of(image) if missing == "" else str(image)
        if name in seen:
            continue
        seen.add(name)
        text = _label_file(dataset, image)
        try:
            labels = () if text is None else (Labels(tuple(_shapes(dataset, files.inside(text)))),)
            problem = ""
        except (BadShape, IntakeError, NotFound) as error:
            labels, problem = (), str(error)
        yield Record(
            name=name,
            origin=text.name if text else origin,
            file=None if missing else image,
            scale=(1.0, 1.0),
            labels=labels,
            missing=missing,
            problem=problem,
        )


def _images(dataset: Yolo, files: ImageFiles) -> Iterator[tuple[str, Path, str]]:
    """Where an image is named, its path, and why it is not there ("" if it is)."""
    for place in dataset.places or (dataset.root,):
        if place.is_dir() or is_image(place.name):
            for image in files.below(place) if place.is_dir() else [place]:
                try:
                    yield place.name, files.inside(image), ""
                except NotFound as error:
                    yield place.name, image, str(error)
            continue
        for line in read_text(place).splitlines():
            if not line.strip():
                continue
            near = (place.parent, dataset.root, dataset.root / "images")
            try:
                yield place.name, files.find(line.strip(), near), ""
            except NotFound as error:
                yield place.name, dataset.root.joinpath(*parts_of(line.strip())), str(error)


def _label_file(dataset: Yolo, image: Path) -> Path | None:
    """The label file of an image: in the folder `labels` that stands beside `images`, or beside the image."""
    below = image.relative_to(dataset.root).parts if image.is_relative_to(dataset.root) else image.parts[-1:]
    places = [image.with_suffix(".txt")]
    for position in range(len(below) - 2, -1, -1):
        if below[position] == "images":
            places.insert(0, dataset.root.joinpath(*below[:position], "labels", *below[position + 1 :]))
            break
    places.append(dataset.root / "labels" / image.name)
    for place in places:
        if is_file(found := place.with_suffix(".txt")) and found.name not in NAME_FILES:
            return found
    return None


def _shapes(dataset: Yolo, path: Path) -> Iterator[Shape]:
    for position, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if words:
            try:
                yield _shape(dataset, words)
            except BadShape as error:
                raise BadShape(f"{path.name}, line {position}: {error}") from error


def _shape(dataset: Yolo, words: Sequence[str]) -> Shape:
    """The object in a line: a class and a box (with a score or without), or a class and a polygon."""
    values = [number(word, f"{word!r}") for word in words]
    label = dataset.labels.get(int(values[0])) if values[0] == int(values[0]) else None
    if label is None:
        raise BadShape(f"no class {words[0]}; there are {len(dataset.labels)} names")
    if dataset.keypoints and len(values) > 5:
        values = values[:5]
    if len(values) in (5, 6):
        cx, cy, width, height = values[1:5]
        score = values[5] if len(values) == 6 else None
        return Shape(label, (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), score=score)
    if len(values) < 7:
        raise BadShape(f"{len(values)} numbers; a box has 5, a polygon 7 or more")
    coordinates = values[1:] if len(values) % 2 else values[1:-1]
    points = list(zip(coordinates[::2], coordinates[1::2], strict=True))
    corners = hull(points)
    x1, y1, x2, y2 = corners
    upright = sorted(points) == sorted([(x1, y1), (x1, y2), (x2, y1), (x2, y2)])
    kind = ShapeKind.BOX if upright else ShapeKind.ROTATED if len(points) == 4 else ShapeKind.POLYGON
    return Shape(label, corners, kind, None if len(values) % 2 else values[-1])
