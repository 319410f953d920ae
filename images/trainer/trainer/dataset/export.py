"""Exports a snapshot as a dataset for other tools: COCO, YOLO or Pascal VOC.

    coco   annotations/instances_{train,val}.json, images/; and train.json, val.json
    yolo   data.yaml, images/{train,val}/, labels/{train,val}/
    voc    JPEGImages/, Annotations/, ImageSets/Main/{train,val}.txt, dataset_meta.json

The hold-out is `val`. Images are copied. An image that EXIF turns is written upright, since not every tool
turns it. Images that could not be exported are listed in skipped.txt.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from labelloop.errors import Explained
from labelloop.files import fsync_dir
from labelloop.settings import Settings
from trainer.dataset import export_coco, export_voc, export_yolo
from trainer.dataset.snapshot import Snapshot

_WRITERS: Mapping[str, Callable[[Snapshot, Path, Path], None]] = {
    "coco": export_coco.write,
    "yolo": export_yolo.write,
    "voc": export_voc.write,
}
FORMATS = tuple(_WRITERS)


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
