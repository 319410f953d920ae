"""Exports a snapshot as a dataset for other tools: COCO, YOLO or Pascal VOC.

    coco   annotations/instances_{train,val}.json, images/; and train.json, val.json
    yolo   data.yaml, images/{train,val}/, labels/{train,val}/
    voc    JPEGImages/, Annotations/, ImageSets/Main/{train,val}.txt, dataset_meta.json

The hold-out is `val`. Images are copied. An image that EXIF turns is written upright, since not every tool
turns it. Images that could not be exported are listed in skipped.txt. An export without images has images.tsv
instead, which says what file each name stands for.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from labelloop.errors import Explained
from labelloop.files import fsync_dir
from labelloop.settings import Settings
from trainer.dataset import export_coco, export_voc, export_yolo
from trainer.dataset.exported_images import ExportedFile
from trainer.dataset.snapshot import Snapshot

_FORMATS: Mapping[str, Callable[[Snapshot, Path, bool], Iterator[ExportedFile]]] = {
    "coco": export_coco.files,
    "yolo": export_yolo.files,
    "voc": export_voc.files,
}
FORMATS = tuple(_FORMATS)


class ExportError(Explained):
    """The dataset cannot be written; the message says why."""


def exported_files(
    snapshot: Snapshot, format_name: str, settings: Settings, images: bool = True
) -> Iterator[ExportedFile]:
    """The files and folders of a dataset, one by one, each made when its turn comes. A file's content must be
    read before the next one is asked for. images: whether the images are among them.

    Raises:
        ExportError: there is no such format.
    """
    if format_name not in FORMATS:
        raise ExportError(f"there is no format {format_name!r}; choose one of {', '.join(FORMATS)}")
    return _FORMATS[format_name](snapshot, settings.labelloop_home, images)


def export(
    snapshot: Snapshot, format_name: str, folder: Path, settings: Settings, images: bool = True
) -> Path:
    """Writes the snapshot to `folder`, which must be new or empty, completely or not at all; returns it.

    Raises:
        ExportError: there is no such format, or the folder is not empty. OSError: a file breaks off while it
            is read, or nothing can be written.
    """
    files = exported_files(snapshot, format_name, settings, images)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        for file in files:
            _write(temporary, file)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        fsync_dir(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(folder: Path, file: ExportedFile) -> None:
    path = folder / file.name
    if file.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        target.writelines(file.content)
