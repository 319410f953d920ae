"""The images of an export: copied under names that every system and tool takes.

A name is the task's number, a dash and what is plain of the file's own name: ASCII letters, digits, dots,
dashes and underscores. The number makes it unique, also where letter case or Unicode forms are folded, and
keeps it from being a device's name on Windows.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labelloop.images import SUFFIXES, ImageError, is_turned, upright
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

UPRIGHT_QUALITY = 95
SIDES = {Side.TRAIN: "train", Side.HOLDOUT: "val"}
"""What other tools call the sides."""
SKIPPED = "skipped.txt"


def copy_images(
    snapshot: Snapshot, folder: Path, home: Path, below: Mapping[str, str]
) -> dict[str, LabelledImages]:
    """Copies the images; returns the images of "train" and "val", with the new name as `file`.

    below: for each of the two, the folder for its images, relative to `folder`. It is made in any case.
    """
    sides = {name: LabelledImages() for name in SIDES.values()}
    for name in sides:
        (folder / below[name]).mkdir(parents=True, exist_ok=True)
    skipped = [f"task {row.task}: {row.reason}" for row in snapshot.skipped]
    for image in snapshot.images:
        side = SIDES[image.side]
        stem = f"{image.task:06d}-{_plain(Path(image.file).stem)}"
        try:
            name = _copy(home / image.file, folder / below[side], stem)
        except (ImageError, OSError) as error:
            skipped.append(f"task {image.task}: {error}")
            continue
        sides[side].add(replace(image, file=name))
    if skipped:
        (folder / SKIPPED).write_text("\n".join(skipped) + "\n", encoding="utf-8")
    return sides


def _copy(source: Path, folder: Path, stem: str) -> str:
    """Copies an image, or writes it anew where it is turned or of a kind that tools don't look for."""
    suffix = source.suffix.lower()
    if suffix in SUFFIXES and not is_turned(source):
        shutil.copyfile(source, folder / (stem + suffix))
        return stem + suffix
    with upright(source) as image:
        image.info.clear()
        image.save(folder / f"{stem}.jpg", quality=UPRIGHT_QUALITY)
    return f"{stem}.jpg"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]
