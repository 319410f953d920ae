"""Writes an export in the format of Pascal VOC: JPEGImages/, Annotations/, ImageSets/Main/{train,val}.txt.

As in the original, pixels are whole and counted from 1, and the last one belongs to the box: a box over the
left 10 pixels of an image has xmin 1 and xmax 10. Ignored boxes are left out: most
tools take `difficult` ones for truth. The format has no place for the list of classes; dataset_meta.json,
which Datumaro reads, has them in their order.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from trainer.dataset.exported_images import copy_images
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.snapshot import Snapshot

IMAGES = "JPEGImages"
CLASSES = "dataset_meta.json"


def write(snapshot: Snapshot, folder: Path, home: Path) -> None:
    """Writes the snapshot into `folder`. An image without boxes has an annotation without objects."""
    annotations, sets = folder / "Annotations", folder / "ImageSets" / "Main"
    annotations.mkdir()
    sets.mkdir(parents=True)
    for side, images in copy_images(snapshot, folder, home, {"train": IMAGES, "val": IMAGES}).items():
        with (sets / f"{side}.txt").open("w", encoding="ascii") as file:
            file.writelines(f"{Path(image.file).stem}\n" for image in images)
        for image in images:
            tree = ElementTree.ElementTree(_annotation(snapshot.classes, image))
            ElementTree.indent(tree)
            tree.write((annotations / image.file).with_suffix(".xml"), encoding="us-ascii")
    (folder / CLASSES).write_text(json.dumps({"labels": snapshot.classes}) + "\n", encoding="ascii")


def _annotation(classes: Sequence[str], image: SnapshotImage) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    _texts(root, folder=IMAGES, filename=image.file)
    _texts(ElementTree.SubElement(root, "source"), database="labelloop", annotation=f"task {image.task}")
    _texts(ElementTree.SubElement(root, "size"), width=image.width, height=image.height, depth=3)
    _texts(root, segmented=0)
    for label, corners in image.boxes:
        entry = ElementTree.SubElement(root, "object")
        _texts(entry, name=classes[label], pose="Unspecified", truncated=0, difficult=0, occluded=0)
        xmin, ymin, xmax, ymax = _pixels(corners, image.width, image.height)
        _texts(ElementTree.SubElement(entry, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
    return root


def _texts(parent: ElementTree.Element, **texts: str | int) -> None:
    """Adds an element for each text."""
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)


def _pixels(corners: Corners, width: int, height: int) -> tuple[int, int, int, int]:
    """The first and the last pixels of a box, counted from 1: at least one pixel, and inside the image."""
    x1, y1, x2, y2 = (math.floor(corner + 0.5) for corner in corners)
    xmin, ymin = min(max(x1, 0), width - 1) + 1, min(max(y1, 0), height - 1) + 1
    return xmin, ymin, min(max(x2, xmin), width), min(max(y2, ymin), height)
