"""Which format a dataset has, and the reader for it."""

import os
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from trainer.intake import coco_reader, csv_reader, studio_reader, voc_reader, yolo_reader
from trainer.intake.named_images import ImageFiles, refuse
from trainer.intake.records import IntakeError, Record

_HEAD = 1 << 16
_MAX_DEPTH = 3
_YAML = (".yaml", ".yml")


class Format(StrEnum):
    """The formats that can be read."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"
    STUDIO = "labelstudio"
    CSV = "csv"


def detect(path: Path) -> Format:
    """The format of a dataset: a file, or a folder in which exactly one format is found.

    Raises:
        IntakeError: there is no dataset, or there are several kinds of files.
    """
    if not path.exists():
        raise IntakeError(f"{path}: there is nothing")
    if path.is_file():
        found = _of_file(path)
        if found is None:
            raise IntakeError(f"{path}: no dataset that is known; {_known()}")
        return found
    kinds = dict(_kinds(path))
    if Format.YOLO in kinds and kinds[Format.YOLO].suffix in _YAML:
        kinds.pop(Format.CSV, None)  # of what was measured in training, say
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds:
        raise IntakeError(f"{path}: no dataset is found in it; {_known()}")
    listed = ", ".join(f"{kind} ({file.relative_to(path)})" for kind, file in sorted(kinds.items()))
    raise IntakeError(f"{path}: could be {listed}; say which by FORMAT=")


def records(path: Path, format_: Format, images: Path | None) -> Iterator[Record]:
    """The images of a dataset. images: a folder in which to look for them, too.

    Raises:
        IntakeError: the dataset cannot be read.
    """
    root = path if path.is_dir() else path.parent
    files = ImageFiles([root, *([images] if images else [])])
    match format_:
        case Format.COCO:
            for file in _files_of(path, format_):
                yield from coco_reader.read(file, files)
        case Format.STUDIO:
            for file in _files_of(path, format_):
                yield from studio_reader.read_export(file, files)
        case Format.CSV:
            for file in _files_of(path, format_):
                yield from csv_reader.read(file, files)
        case Format.VOC:
            yield from voc_reader.read(iter(_files_of(path, format_)), files)
        case Format.YOLO:
            yield from yolo_reader.read(_yolo(path, root), files)


def _yolo(path: Path, root: Path) -> yolo_reader.Yolo:
    if path.is_file():
        return yolo_reader.describe(root, path)
    found = [file for kind, file in _kinds(path) if kind == Format.YOLO]
    described = [file for file in found if file.suffix in _YAML]
    if len(described) > 1:
        listed = ", ".join(str(file.relative_to(path)) for file in described)
        raise IntakeError(f"{path}: several describe a dataset: {listed}; name one as DATASET")
    if not described and len(found) == 1:
        described = found
    return yolo_reader.describe(root, described[0] if described else None)


def _files_of(path: Path, format_: Format) -> Sequence[Path]:
    """The files of a format at `path`.

    Raises:
        IntakeError: there is none.
    """
    if path.is_file():
        return [path]
    found = [file for kind, file in _kinds(path) if kind == format_]
    if not found:
        raise IntakeError(f"{path}: no file of the format {format_} is in it")
    return found


def _kinds(folder: Path) -> Iterator[tuple[Format, Path]]:
    """The files below a folder that hold labels, with their formats."""
    for top, folders, names in os.walk(folder, onerror=refuse):
        depth = len(Path(top).relative_to(folder).parts)
        folders[:] = (
            sorted(name for name in folders if not name.startswith(".")) if depth < _MAX_DEPTH else []
        )
        for name in sorted(names):
            file = Path(top, name)
            if not name.startswith(".") and (kind := _of_file(file)) is not None:
                yield kind, file


def _of_file(file: Path) -> Format | None:
    suffix = file.suffix.lower()
    if suffix == ".json":
        return _of_json(file)
    if suffix == ".xml":
        return Format.VOC if voc_reader.is_voc(file) else None
    if suffix in _YAML:
        return Format.YOLO if b"names:" in _head(file) else None
    if file.name in yolo_reader.NAME_FILES:
        return Format.YOLO
    return Format.CSV if suffix == ".csv" else None


def _of_json(file: Path) -> Format | None:
    head = _head(file).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"["):
        # The last is JSON-MIN's, which the reader refuses in words.
        marks = (b'"data"', b'"annotations"', b'"result"', b'"annotation_id"')
        return Format.STUDIO if any(mark in head for mark in marks) else None
    is_coco = head.startswith(b"{") and (b'"images"' in head or b'"image_id"' in head)
    return Format.COCO if is_coco else None


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_HEAD)
    except OSError as error:
        raise IntakeError(f"{file}: {error.strerror}") from error


def _known() -> str:
    return (
        "COCO's JSON, YOLO (data.yaml or classes.txt), Pascal VOC's XML, Label Studio's JSON export and a "
        "CSV of boxes are; an archive has to be unpacked first"
    )
