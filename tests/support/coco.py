"""COCO folders of the test pictures."""

import json
from pathlib import Path
from typing import Any

from support import shapes


def write_coco(folder: Path, split: str, start: int, count: int, **changes: Any) -> dict[str, shapes.Picture]:
    """Pictures as COCO, with category ids 7 (ball) and 9 (crate)."""
    pictures = shapes.save(folder / "images", count, start)
    images, annotations = [], []
    for number, (name, picture) in enumerate(pictures.items(), start=1):
        width, height = picture.image.size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for x1, y1, x2, y2, label in picture.boxes:
            box = {"image_id": number, "category_id": (7, 9)[label], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({"id": len(annotations), "iscrowd": 0, **box})
    categories = [{"id": 9, "name": "crate"}, {"id": 7, "name": "ball"}]
    document = {"images": images, "annotations": annotations, "categories": categories, **changes}
    (folder / f"{split}.json").write_text(json.dumps(document))
    return pictures
