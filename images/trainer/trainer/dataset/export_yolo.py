"""Writes an export in the format of Ultralytics' YOLO: data.yaml, images/{train,val}/, labels/{train,val}/.

data.yaml has no `path`: its folder is the dataset's then, wherever it is and from wherever a tool is run. The
format has no place for ignored boxes, which are left out.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from trainer.dataset.exported_images import SIDES, ExportedFile, ExportedImages
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot


def files(snapshot: Snapshot, home: Path, images_too: bool) -> Iterator[ExportedFile]:
    """The snapshot's files. The folders of both sides are there even if they are empty."""
    below = {side: f"images/{side}" for side in SIDES.values()}
    exported = ExportedImages(snapshot, home, below, images_too)
    yield from exported.files()
    for side, images in exported.sides.items():
        yield ExportedFile(f"labels/{side}")
        for image in images:
            yield ExportedFile.of_text(f"labels/{side}/{Path(image.file).stem}.txt", _lines(image))
    yield ExportedFile.of_text("data.yaml", [_description(snapshot.classes, below)])
    yield from exported.lists()


def _description(classes: Sequence[str], below: dict[str, str]) -> str:
    """The text of data.yaml, in ASCII, since tools read it in their system's encoding."""
    sides = "".join(f"{side}: {where}\n" for side, where in below.items())
    names = "".join(f"  {index}: {_quoted(name)}\n" for index, name in enumerate(classes))
    return f"{sides}nc: {len(classes)}\nnames:\n{names}"


def _quoted(name: str) -> str:
    """A label as a string of YAML, so that `on`, `null` and `1` stay words."""
    return yaml.safe_dump(name, default_style='"', width=math.inf, allow_unicode=False).strip()


def _lines(image: SnapshotImage) -> Iterable[str]:
    """A line for each box: class, centre and size, as shares of the image."""
    for label, (x1, y1, x2, y2) in image.boxes:
        centre = ((x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height)
        size = ((x2 - x1) / image.width, (y2 - y1) / image.height)
        yield f"{label} {centre[0]:.8f} {centre[1]:.8f} {size[0]:.8f} {size[1]:.8f}\n"
