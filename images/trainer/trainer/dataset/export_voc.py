"""Writes an export in the format of Pascal VOC: JPEGImages/, Annotations/, ImageSets/Main/{train,val}.txt.

As in the original, pixels are whole and counted from 1, and the last one belongs to the box: a box over the
left 10 pixels of an image has xmin 1 and xmax 10. Ignored boxes are left out: most
tools take `difficult` ones for truth. The format has no place for the list of classes; dataset_meta.json,
which Datumaro reads, has them in their order.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from trainer.dataset.exported_images import ExportedFile, ExportedImages
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.snapshot import Snapshot

IMAGES = "JPEGImages"
CLASSES = "dataset_meta.json"


def files(snapshot: Snapshot, home: Path, images_too: bool) -> Iterator[ExportedFile]:
    """The snapshot's files. An image without boxes has an annotation without objects."""
    exported = ExportedImages(snapshot, home, {"train": IMAGES, "val": IMAGES}, images_too)
    yield from exported.files()
    yield ExportedFile("Annotations")
    for side, images in exported.sides.items():
        stems = (f"{Path(image.file).stem}\n" for image in images)
        yield ExportedFile.of_text(f"ImageSets/Main/{side}.txt", stems)
        for image in images:
            root = _annotation(snapshot.classes, image)
            ElementTree.indent(root)
            content = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True)
            yield ExportedFile(f"Annotations/{Path(image.file).stem}.xml", [content])
    yield ExportedFile.of_text(CLASSES, [json.dumps({"labels": snapshot.classes}) + "\n"])
    yield from exported.lists()


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
