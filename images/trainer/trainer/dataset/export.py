"""Exports a snapshot as a dataset for other tools: COCO, YOLO or Pascal VOC.

    coco   train.json, val.json, images/
    yolo   data.yaml, images/{train,val}/, labels/{train,val}/
    voc    JPEGImages/, Annotations/, ImageSets/Main/{train,val}.txt

The hold-out is `val`. Images are copied. An image that EXIF turns is written upright, since not every tool
turns it. Images that could not be exported are listed in skipped.txt.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from labelloop.errors import Explained
from labelloop.files import fsync_dir
from labelloop.images import ImageError, is_turned, upright
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

FORMATS = ("coco", "yolo", "voc")
UPRIGHT_QUALITY = 95
_FOLDER_OF = {Side.TRAIN: "train", Side.HOLDOUT: "val"}


class ExportError(Explained):
    """The dataset cannot be written; the message says why."""


def export(snapshot: Snapshot, format_name: str, folder: Path, settings: Settings) -> Path:
    """Writes the snapshot to `folder`, which must be new or empty, completely or not at all; returns it.

    Raises:
        ExportError: there is no such format, or the folder is not empty.
    """
    if format_name not in FORMATS:
        raise ExportError(f"there is no format {format_name!r}; choose one of {', '.join(FORMATS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        _WRITERS[format_name](snapshot, temporary, settings.labelloop_home)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        fsync_dir(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_coco(snapshot: Snapshot, folder: Path, home: Path) -> None:
    sides = _copy_images(snapshot, folder, home, lambda image: "images")
    for side, images in sides.items():
        named = LabelledImages(replace(image, file=f"images/{image.file}") for image in images)
        with (folder / f"{side}.json").open("w", encoding="utf-8") as file:
            file.writelines(snapshot.coco_lines(named))


def _write_yolo(snapshot: Snapshot, folder: Path, home: Path) -> None:
    sides = _copy_images(snapshot, folder, home, lambda image: f"images/{_FOLDER_OF[image.side]}")
    for side, images in sides.items():
        labels = folder / "labels" / side
        labels.mkdir(parents=True)
        for image in images:
            (labels / image.file).with_suffix(".txt").write_text(
                "".join(_yolo_lines(image)), encoding="utf-8"
            )
    names = "".join(f"  {index}: {json.dumps(name)}\n" for index, name in enumerate(snapshot.classes))
    (folder / "data.yaml").write_text(
        f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}", encoding="utf-8"
    )


def _yolo_lines(image: SnapshotImage) -> Iterable[str]:
    for label, (x1, y1, x2, y2) in image.boxes:
        centre = ((x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height)
        size = ((x2 - x1) / image.width, (y2 - y1) / image.height)
        yield f"{label} {centre[0]:.6f} {centre[1]:.6f} {size[0]:.6f} {size[1]:.6f}\n"


def _write_voc(snapshot: Snapshot, folder: Path, home: Path) -> None:
    sides = _copy_images(snapshot, folder, home, lambda image: "JPEGImages")
    annotations, sets = folder / "Annotations", folder / "ImageSets" / "Main"
    annotations.mkdir()
    sets.mkdir(parents=True)
    for side, images in sides.items():
        with (sets / f"{side}.txt").open("w", encoding="utf-8") as file:
            file.writelines(f"{Path(image.file).stem}\n" for image in images)
        for image in images:
            tree = ElementTree.ElementTree(_voc_annotation(snapshot.classes, image))
            tree.write((annotations / image.file).with_suffix(".xml"), encoding="utf-8")


def _voc_annotation(classes: Sequence[str], image: SnapshotImage) -> ElementTree.Element:
    """The annotation file of an image. Pascal VOC counts pixels from 1."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "folder").text = "JPEGImages"
    ElementTree.SubElement(root, "filename").text = image.file
    size = ElementTree.SubElement(root, "size")
    for tag, number in (("width", image.width), ("height", image.height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(number)
    for label, (x1, y1, x2, y2) in image.boxes:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = classes[label]
        for tag in ("truncated", "difficult"):
            ElementTree.SubElement(entry, tag).text = "0"
        box = ElementTree.SubElement(entry, "bndbox")
        corners = (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2))
        for tag, pixel in corners:
            ElementTree.SubElement(box, tag).text = str(round(pixel))
    return root


def _copy_images(
    snapshot: Snapshot, folder: Path, home: Path, below: Callable[[SnapshotImage], str]
) -> dict[str, LabelledImages]:
    """Copies the images; returns each side's images, with the new name as `file`. New names are unique and
    plain.
    """
    sides = {name: LabelledImages() for name in _FOLDER_OF.values()}
    skipped = [f"task {row.task}: {row.reason}" for row in snapshot.skipped]
    for image in snapshot.images:
        target = folder / below(image)
        target.mkdir(parents=True, exist_ok=True)
        try:
            name = _copy(home / image.file, target, f"{image.task:06d}-{_plain(Path(image.file).stem)}")
        except (ImageError, OSError) as error:
            skipped.append(f"task {image.task}: {error}")
            continue
        sides[_FOLDER_OF[image.side]].add(replace(image, file=name))
    if skipped:
        (folder / "skipped.txt").write_text("\n".join(skipped) + "\n", encoding="utf-8")
    return sides


def _copy(source: Path, folder: Path, stem: str) -> str:
    if source.suffix and not is_turned(source):
        shutil.copyfile(source, folder / (stem + source.suffix.lower()))
        return stem + source.suffix.lower()
    with upright(source) as image:
        image.info.clear()
        image.save(folder / f"{stem}.jpg", quality=UPRIGHT_QUALITY)
    return f"{stem}.jpg"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]


_WRITERS: Mapping[str, Callable[[Snapshot, Path, Path], None]] = {
    "coco": _write_coco,
    "yolo": _write_yolo,
    "voc": _write_voc,
}
