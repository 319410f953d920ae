"""Writes an export in COCO's format and layout: annotations/instances_{train,val}.json, images/.

Paths in these are relative to images/. For tools that take one folder for everything, train.json and val.json
beside images/ say the same with paths relative to their own folder.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.dataset import coco
from trainer.dataset.exported_images import copy_images
from trainer.dataset.labelled import Corners, LabelledImages
from trainer.dataset.snapshot import Snapshot

ANNOTATIONS = "annotations"
IMAGES = "images"


def write(snapshot: Snapshot, folder: Path, home: Path) -> None:
    """Writes the snapshot into `folder`."""
    sides = copy_images(snapshot, folder, home, {"train": IMAGES, "val": IMAGES})
    (folder / ANNOTATIONS).mkdir()
    now, version = datetime.now(UTC), snapshot.fingerprint[:12]
    for side, images in sides.items():
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
            with (folder / name).open("w", encoding="utf-8") as file:
                file.writelines(_lines(info, snapshot.classes, listed))


def _lines(info: Mapping[str, object], classes: Sequence[str], images: LabelledImages) -> Iterator[str]:
    """COCO's JSON, with all the keys that its readers ask for. Labels have no supercategory."""
    categories = [{"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(classes)]
    yield f'{{"info": {json.dumps(info)},\n"licenses": [],\n'
    yield f'"categories": {json.dumps(categories)},\n"images": ['
    yield from coco.rows(coco.image_row(image) for image in images)
    yield '\n],\n"annotations": ['
    yield from coco.rows(_with_outlines(coco.box_rows(images), images))
    yield "\n]}\n"


def _with_outlines(rows: Iterable[Mapping[str, Any]], images: LabelledImages) -> Iterator[Mapping[str, Any]]:
    """The boxes with what COCO's tools draw masks from: the box as a polygon, or as runs for a crowd."""
    sizes = iter(images)
    image = None
    for row in rows:
        while image is None or image.id != row["image_id"]:
            image = next(sizes)
        x, y, width, height = (round(number, 2) for number in row["bbox"])
        right, bottom = round(x + width, 2), round(y + height, 2)
        outline: object = [[x, y, right, y, right, bottom, x, bottom]]
        if row["iscrowd"]:
            outline = runs((x, y, right, bottom), image.width, image.height)
        box = {"bbox": [x, y, width, height], "area": round(width * height, 2), "segmentation": outline}
        yield {**row, **box}


def runs(corners: Corners, width: int, height: int) -> dict[str, object]:
    """The box as COCO's run lengths: how many pixels are outside, inside, outside, …, down each column.

    >>> runs((1, 1, 2, 3), width=3, height=4)
    {'size': [4, 3], 'counts': [5, 2, 5]}
    """
    left, top, right, bottom = (round(corner) for corner in corners)
    counts = [left * height + top]
    for column in range(left, right):
        after = height - bottom + top if column < right - 1 else height - bottom + (width - right) * height
        counts += [bottom - top, after]
    return {"size": [height, width], "counts": counts if right > left else [width * height]}
