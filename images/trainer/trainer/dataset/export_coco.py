"""Writes an export in COCO's format and layout: annotations/instances_{train,val}.json, images/.

Paths in these are relative to images/. For tools that take one folder for everything, train.json and val.json
beside images/ say the same with paths relative to their own folder. Ignored boxes have iscrowd 1.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from trainer.dataset import coco
from trainer.dataset.exported_images import ExportedFile, ExportedImages
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot

ANNOTATIONS = "annotations"
IMAGES = "images"


def files(snapshot: Snapshot, home: Path, images_too: bool) -> Iterator[ExportedFile]:
    """The snapshot's files."""
    exported = ExportedImages(snapshot, home, {"train": IMAGES, "val": IMAGES}, images_too)
    yield from exported.files()
    now, version = datetime.now(UTC), snapshot.fingerprint[:12]
    names = [*snapshot.classes, *snapshot.ignored_labels(snapshot.images)]
    for side, images in exported.sides.items():
        info = {
            "description": f"labelloop, project {snapshot.project}, {side}",
            "version": version,
            "year": now.year,
            "contributor": "labelloop",
            "url": "",
            "date_created": now.isoformat(timespec="seconds"),
        }
        named = LabelledImages(replace(image, file=f"{IMAGES}/{image.file}") for image in images)
        for name, listed in ((f"{ANNOTATIONS}/instances_{side}.json", images), (f"{side}.json", named)):
            yield ExportedFile.of_text(name, coco.complete_lines(info, names, listed))
    yield from exported.lists()
