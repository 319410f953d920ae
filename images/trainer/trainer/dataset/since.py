"""Images that were labelled after a round's snapshot.

Neither its candidate nor an earlier version was trained on them, so they tell the two apart as the hold-out
does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from labelloop.clocks import LEEWAY
from labelloop.files import write_lines
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, changed_after
from labelloop.verified import is_verified
from trainer.dataset import coco, near_duplicates, split
from trainer.dataset.collector import Collector, newest_submitted
from trainer.dataset.examine import Examiner
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Progress, Snapshot
from trainer.dataset.split import Side
from trainer.peers.projects import fetch
from trainer.rounds.folder import SINCE

MOST = 100
"""So many images are looked at, since a person waits for the round; those with the newest tasks."""


def take(
    studio: Studio,
    project_id: int,
    settings: Settings,
    round_dir: Path,
    snapshot: Snapshot,
    began: datetime,
    progress: Progress,
) -> list[SnapshotImage]:
    """The images that were labelled since, frozen in the round's since.json. A folder that has one keeps it.

    began: when the snapshot was begun. There are none where the labels have changed meanwhile.

    Raises:
        studio.StudioError: Label Studio does not answer. split.SplitError: split.json is damaged.
    """
    path = round_dir / SINCE
    if not path.exists():
        found = _labelled_since(studio, project_id, settings, snapshot, began, progress)
        lines = coco.lines(snapshot.classes, LabelledImages(found), {}, snapshot.ignored_labels(found))
        write_lines(path, lines)
    return list(coco.read_images(path))


def _labelled_since(
    studio: Studio,
    project_id: int,
    settings: Settings,
    snapshot: Snapshot,
    began: datetime,
    progress: Progress,
) -> list[SnapshotImage]:
    project = fetch(studio, project_id)
    if project.labels != snapshot.label_config:
        return []
    collector = Collector(Examiner(project.labels, settings, frozenset()))
    for task in tasks_since(studio, project_id, began):
        collector.add(task)
    return unseen(collector.images, snapshot, project_id, settings, progress)[-MOST:]


def tasks_since(
    studio: Studio, project_id: int, began: datetime, predictions: bool = False
) -> Iterator[Mapping[str, Any]]:
    """The labelled tasks that were changed after `began`, and some that were changed shortly before it.

    Those that were verified crop by crop are left out: their boxes are those of the version that proposed
    them, which so would be compared with itself.
    """
    omit = "drafts" if predictions else "drafts,predictions"
    changed = changed_after(began - LEEWAY)
    for task in studio.iter_tasks(project_id, LABELLED, changed, fields="all", omit=omit, page_size=100):
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None or not is_verified(annotation.get("result")):
            yield task


def unseen(
    images: Iterable[SnapshotImage],
    snapshot: Snapshot,
    project_id: int,
    settings: Settings,
    progress: Progress,
) -> list[SnapshotImage]:
    """Those of the images that no version can have been trained on: they are not in the snapshot, were never
    in an earlier one, and are no near-duplicates of images that are trained on.
    """
    folder = Registry(settings.models_dir).project(project_id).path
    sides = split.load(folder / split.SPLIT_FILE)
    known = {image.sha256 for image in snapshot.images}
    fresh = [image for image in images if image.sha256 not in known and sides.get(image.sha256) is None]
    if not fresh:
        return []
    together = LabelledImages()
    for number, image in enumerate(chain(snapshot.images, fresh), start=1):
        together.add(_numbered(image, number))
    group_of = near_duplicates.find(together, folder, settings.labelloop_home, progress).group_of
    taught = {group_of[digest] for digest, side in sides.items() if side is Side.TRAIN and digest in group_of}
    return [
        _numbered(image, number)
        for number, image in enumerate(fresh, start=1)
        if group_of.get(image.sha256) not in taught
    ]


def _numbered(image: SnapshotImage, number: int) -> SnapshotImage:
    return replace(image, id=number)
