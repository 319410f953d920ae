"""Small datasets in every format that people bring, with the same four pictures and boxes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import shapes

SIZE = (320, 240)
NAMES = ("a b.png", "deep/Größe #2.png", "negative.png", "d.png")
"""The third has no box."""
CATEGORIES = {3: "ball", 7: "Crate"}

Box = tuple[str, float, float, float, float]

BOXES: dict[str, tuple[Box, ...]] = {
    NAMES[0]: (("ball", 32, 24, 160, 120),),
    NAMES[1]: (("ball", 0, 0, 64, 48), ("Crate", 160, 120, 320, 240)),
    NAMES[2]: (),
    NAMES[3]: (("Crate", 16, 12, 48, 36),),
}
"""Label, x1, y1, x2, y2 in pixels."""


def save_images(folder: Path, first: int = 500) -> None:
    for seed, name in enumerate(NAMES, start=first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shapes.picture(seed, SIZE).image.save(folder / name)


def coco_document() -> dict[str, Any]:
    ids = {name: number for number, name in enumerate(NAMES, start=1)}
    by_name = {name: number for number, name in CATEGORIES.items()}
    boxes = [(ids[name], box) for name in NAMES for box in BOXES[name]]
    return {
        "images": [
            {"id": ids[name], "file_name": name, "width": SIZE[0], "height": SIZE[1]} for name in NAMES
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": by_name[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": [[x1, y1, x2, y1, x2, y2]],
                "iscrowd": 0,
            }
            for number, (image, (label, x1, y1, x2, y2)) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }


def coco(folder: Path) -> Path:
    save_images(folder / "images")
    (folder / "annotations.json").write_text(json.dumps(coco_document()))
    return folder


def yolo(folder: Path) -> Path:
    """With a data.yaml from another machine: Windows paths and line ends, a list of images and a folder."""
    save_images(folder / "images")
    labels = list(CATEGORIES.values())
    for name in NAMES:
        lines = [
            f"{labels.index(label)} {(x1 + x2) / 2 / 320} {(y1 + y2) / 2 / 240} {(x2 - x1) / 320} "
            f"{(y2 - y1) / 240}\r\n"
            for label, x1, y1, x2, y2 in BOXES[name]
        ]
        path = (folder / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(lines).encode())
    listed = [f"C:\\work\\set\\images\\{name}".replace("/", "\\") for name in NAMES]
    (folder / "train.txt").write_bytes("\r\n".join(listed).encode())
    lines = (
        "path: C:/work/set",
        "train: train.txt",
        "val:",
        "  - images/deep",
        "names:",
        "  0: ball",
        "  1: Crate",
    )
    (folder / "data.yaml").write_bytes("\r\n".join(lines).encode())
    return folder


def voc(folder: Path) -> Path:
    save_images(folder / "JPEGImages")
    for name in NAMES:
        objects = "".join(
            f"<object><name>{label}</name><truncated>1</truncated><difficult>1</difficult><bndbox>"
            f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, x1, y1, x2, y2 in BOXES[name]
        )
        path = (folder / "Annotations" / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"<annotation><folder>x</folder><filename>{Path(name).name}</filename>"
            f"<size><width>320</width><height>240</height><depth>3</depth></size>{objects}</annotation>",
            encoding="utf-8",
        )
    return folder


def csv(folder: Path, header: bool = True) -> Path:
    save_images(folder)
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"] if header else []
    for name in NAMES:
        for label, *corners in BOXES[name]:
            box = ",".join(map(str, corners))
            lines.append(f"{name},320,240,{label},{box}" if header else f"{name},{box},{label}")
        if not BOXES[name]:
            lines.append(f"{name},320,240,,,,," if header else f"{name},,,,,")
    (folder / "boxes.csv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    return folder


def studio(folder: Path) -> Path:
    """A JSON export, with the media folder beside it."""
    media = folder / "media" / "upload" / "3"
    save_images(media)
    for name in NAMES:
        (media / name).rename((media / name).with_name(f"0a1b2c3d-{Path(name).name}"))
    rows = [
        {
            "id": number,
            "data": {
                "image": f"/data/upload/3/{'deep/' if '/' in name else ''}0a1b2c3d-{Path(name).name}",
                "site": "north",
            },
            "annotations": [studio_annotation(name, number)],
            "predictions": [{"result": [], "model_version": "theirs"}],
        }
        for number, name in enumerate(NAMES, start=1)
    ]
    (folder / "project-3.json").write_text(json.dumps(rows))
    return folder


def studio_annotation(name: str, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "completed_by": {"id": 9, "email": "ann@example.org"},
        "created_at": "2025-03-01T10:00:00.000000Z",
        "updated_at": "2025-03-02T11:00:00.000000Z",
        "lead_time": 12.5,
        "was_cancelled": False,
        "result": [
            {
                "id": f"r{position}",
                "type": "rectanglelabels",
                "from_name": "theirs",
                "to_name": "picture",
                "original_width": 320,
                "original_height": 240,
                "value": {
                    "x": x1 / 3.2,
                    "y": y1 / 2.4,
                    "width": (x2 - x1) / 3.2,
                    "height": (y2 - y1) / 2.4,
                    "rotation": 0,
                    "rectanglelabels": [label],
                },
            }
            for position, (label, x1, y1, x2, y2) in enumerate(BOXES[name])
        ],
    }


ALL: dict[str, Callable[[Path], Path]] = {
    "coco": coco,
    "yolo": yolo,
    "voc": voc,
    "csv": csv,
    "labelstudio": studio,
}
