"""A round's dataset: images, boxes and sides, frozen in snapshot.json (COCO's format and more)."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import ijson

from labelloop.errors import Explained
from labelloop.files import write_lines
from labelloop.image_cache import ImageCache
from labelloop.labels import LabelConfig, parse_label_config
from labelloop.locks import holding
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED
from trainer.dataset import coco, near_duplicates, split
from trainer.dataset.collector import Collector
from trainer.dataset.examine import Examiner
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.left_out import LeftOut
from trainer.dataset.refusal import refusal
from trainer.dataset.split import Side
from trainer.dataset.survey import Survey
from trainer.peers.projects import Project, fetch
from trainer.rounds.folder import SNAPSHOT

WAIT_S = 600.0
Progress = Callable[[float, str], None]


class SnapshotError(Explained):
    """There is nothing to train on; the message says what is missing or damaged."""


@dataclass(frozen=True)
class Snapshot:
    """A project's labelled images at one moment.

    skipped: the labelled tasks that are not used. boxes_left_out: junk among the boxes of images that are
    used. The images have these boxes still: `junk.without` is what is trained on and scored. asks_at_clicks:
    whether the project's clicks were answered then.
    """

    project: int
    label_config_xml: str
    images: LabelledImages
    skipped: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    boxes_left_out: tuple[LeftOut, ...] = ()
    asks_at_clicks: bool = True

    @property
    def clicks(self) -> bool:
        """Whether a click on an object fetched a box."""
        return self.asks_at_clicks and self.label_config.marks.clicks

    @cached_property
    def label_config(self) -> LabelConfig:
        return parse_label_config(self.label_config_xml)

    @property
    def classes(self) -> list[str]:
        return self.label_config.names

    @property
    def train(self) -> Collection[SnapshotImage]:
        return self.images.of_side(Side.TRAIN)

    @property
    def holdout(self) -> Collection[SnapshotImage]:
        return self.images.of_side(Side.HOLDOUT)

    @property
    def labelled(self) -> int:
        return len(self.images)

    @property
    def boxes(self) -> int:
        return self.images.boxes

    @property
    def fingerprint(self) -> str:
        """SHA-256 over classes, image bytes, sides and boxes, independent of the files' order and names."""
        digest = hashlib.sha256(f"[{json.dumps(self.classes)}, [".encode())
        for position, image in enumerate(self.images.by_sha256()):
            boxes = sorted([label, *(round(side, 2) for side in box)] for label, box in image.boxes)
            fields = [image.sha256, image.side, boxes]
            if image.ignored:
                fields.append(
                    sorted([label, *(round(side, 2) for side in box)] for label, box in image.ignored)
                )
            row = json.dumps(fields)
            digest.update((", " if position else "").encode() + row.encode())
        digest.update(b"]]")
        return digest.hexdigest()

    def coco_lines(self, images: Collection[SnapshotImage]) -> Iterator[str]:
        """Some of the images as COCO's JSON, in pieces to be written as they come.

        Category ids are 1 + the class's index.
        """
        return coco.lines(self.classes, images, {}, self.ignored_labels(images))

    def ignored_labels(self, images: Collection[SnapshotImage]) -> tuple[str, ...]:
        """The ignored labels of the config, if any box has one: else they would be empty categories."""
        classes = len(self.classes)
        used = any(label >= classes for image in images for label, _ in image.ignored)
        return self.label_config.marks.ignored if used else ()

    def write(self, round_dir: Path) -> None:
        more = {
            "info": {
                "project": self.project,
                "fingerprint": self.fingerprint,
                "label_config": self.label_config_xml,
                "asks_at_clicks": self.asks_at_clicks,
            },
            "skipped": [row.row() for row in self.skipped],
            "boxes_left_out": [row.row() for row in self.boxes_left_out],
            "warnings": self.warnings,
        }
        ignored = self.ignored_labels(self.images)
        write_lines(round_dir / SNAPSHOT, coco.lines(self.classes, self.images, more, ignored))

    @classmethod
    def load(cls, round_dir: Path) -> "Snapshot":
        """Reads the snapshot that `write` wrote.

        Raises:
            OSError, ValueError, KeyError, TypeError: there is no snapshot, or it is damaged.
        """
        path = round_dir / SNAPSHOT
        try:
            info = coco.read_value(path, "info")
            skipped, warnings = coco.read_value(path, "skipped"), coco.read_value(path, "warnings")
            boxes = coco.read_value(path, "boxes_left_out", [])
            images = LabelledImages(coco.read_images(path))
        except ijson.JSONError as error:
            raise ValueError("no JSON, " + str(error).partition("\n")[0]) from error
        return cls(
            info["project"],
            info["label_config"],
            images,
            tuple(map(LeftOut.read, skipped)),
            tuple(warnings),
            tuple(map(LeftOut.read, boxes)),
            bool(info.get("asks_at_clicks", True)),
        )


@contextmanager
def snapshotting(rounds_dir: Path, wait_s: float | None = None) -> Iterator[None]:
    """Lets only one snapshot be taken at a time, since snapshots settle the sides of images.

    wait_s: how long to wait for another one; by default WAIT_S.

    Raises:
        Busy: another snapshot took longer than `wait_s`.
    """
    with holding(rounds_dir / "snapshot.lock", WAIT_S if wait_s is None else wait_s):
        yield


def take(
    studio: Studio, project_id: int, settings: Settings, round_dir: Path, progress: Progress
) -> Snapshot:
    """Calls `collect` and freezes the result in the round's snapshot.json. A folder that has one keeps it.

    Raises:
        SnapshotError: snapshot.json is damaged. Also the errors of `collect`.
    """
    if (round_dir / SNAPSHOT).exists():
        try:
            kept = Snapshot.load(round_dir)
        except (ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise SnapshotError(
                f"{round_dir / SNAPSHOT} is damaged ({why}); `make retrain` starts a new round"
            ) from error
        if kept.project != project_id:
            raise SnapshotError(
                f"{round_dir / SNAPSHOT} is of project {kept.project}, not of {project_id}; "
                "`make retrain` starts a new round"
            )
        return kept
    with ImageCache(settings.cache_dir).in_use():
        snapshot = collect(studio, project_id, settings, progress, to_train=True)
        round_dir.mkdir(parents=True, exist_ok=True)
        snapshot.write(round_dir)
    return snapshot


def labels_now(studio: Studio, project_id: int, settings: Settings, progress: Progress) -> Snapshot:
    """`collect`, for an export. Snapshots of rounds wait only while the sides are settled, not while the
    labels are read.

    Raises:
        Busy: another snapshot took longer than WAIT_S. Also the errors of `collect`.
    """
    read = _read(studio, project_id, settings, progress)
    progress(1.0, "waiting for another snapshot, or settling sides")
    with snapshotting(settings.rounds_dir):
        return _settled(read, settings, progress)


def collect(
    studio: Studio, project_id: int, settings: Settings, progress: Progress, to_train: bool = False
) -> Snapshot:
    """Reads a project's submitted annotations and their images, and settles the sides.

    Of each task the newest submitted annotation counts; skipped annotations do not count. An empty annotation
    makes the image a negative; one of which any region could not be understood does not, and leaves the image
    out. Of tasks with the same image bytes, the newest annotation counts. Images that are downloaded are
    kept in the cache, and used from there when they are away; those that were never had are asked for again
    for a while. What is not used is listed with the reason. to_train: a round will train on it.

    Raises:
        SnapshotError: there is no image, or no box, to train on, or `refusal` says why a round must not
        train on it. split.SplitError: split.json is damaged. labels.LabelConfigError: the project has no
        bounding boxes. studio.StudioError: Label Studio does not answer.
    """
    return _settled(_read(studio, project_id, settings, progress), settings, progress, to_train)


@dataclass(frozen=True)
class _Labels:
    """What was read of a project's labels. began: when the reading did."""

    began: datetime
    project: Project
    collector: Collector


def _read(studio: Studio, project_id: int, settings: Settings, progress: Progress) -> _Labels:
    began = datetime.now(UTC)
    project = fetch(studio, project_id)
    sides = split.load(_split_file(settings, project_id))
    collector = Collector(Examiner(project.labels, settings, sides))
    total = studio.count_tasks(project_id, LABELLED)
    for number, task in enumerate(studio.annotated_tasks(project_id), start=1):
        collector.add(task)
        progress(min(number / max(total, 1), 1.0), f"image {number} of {total}")
    collector.add_what_was_away(lambda words: progress(1.0, words))
    return _Labels(began, project, collector)


def _split_file(settings: Settings, project_id: int) -> Path:
    return Registry(settings.models_dir).project(project_id).path / split.SPLIT_FILE


def _settled(read: _Labels, settings: Settings, progress: Progress, to_train: bool = False) -> Snapshot:
    project, collector = read.project, read.collector
    project_id, split_file = project.id, _split_file(settings, project.id)
    why_not = (
        refusal(project_id, collector.labelled, collector.skipped, project.labels.names, settings)
        if to_train
        else None
    )
    left_out = (*collector.skipped, *collector.boxes_left_out)
    survey = Survey(project_id, read.began, project.label_config, left_out, collector.warnings)
    survey.write(settings.rounds_dir)
    if why_not is not None:
        raise SnapshotError(f"project {project_id}: {why_not}")
    near = near_duplicates.find(collector.images, split_file.parent, settings.labelloop_home, progress)
    digests = (image.sha256 for image in collector.images)
    verified = collector.images.verified()
    sides = split.settle(split_file, digests, settings.holdout_percent, near.group_of, verified)
    images = LabelledImages(
        replace(image, id=number, side=sides[image.sha256])
        for number, image in enumerate(collector.images, start=1)
    )
    snapshot = Snapshot(
        project_id,
        project.label_config,
        images,
        tuple(collector.skipped),
        collector.warnings,
        collector.boxes_left_out,
        project.asks_at_clicks,
    )
    train, holdout = len(snapshot.train), len(snapshot.holdout)
    replace(survey, train=train, holdout=holdout, boxes=snapshot.boxes).write(settings.rounds_dir)
    _require_data(snapshot)
    warnings = (*snapshot.warnings, *near.warnings(sides), *_unused_labels(snapshot))
    return replace(snapshot, warnings=warnings)


def _require_data(snapshot: Snapshot) -> None:
    trained_on = len(snapshot.train)
    if not trained_on:
        skipped = (
            f" ({len(snapshot.skipped)} could not be used, the first, task {snapshot.skipped[0].task}: "
            f"{snapshot.skipped[0].reason}. {snapshot.skipped[0].about.way_out})"
            if snapshot.skipped
            else ""
        )
        raise SnapshotError(
            f"project {snapshot.project} has {snapshot.labelled} labelled images{skipped}; "
            "label at least one and submit it"
        )
    if not any(image.labels for image in snapshot.train):
        raise SnapshotError(
            f"none of the {trained_on} training images of project {snapshot.project} has a box; "
            "label some that do"
        )


def _unused_labels(snapshot: Snapshot) -> list[str]:
    used = {label for image in snapshot.train for label in image.labels}
    return [
        f"label {name!r} has no box in the training images"
        for index, name in enumerate(snapshot.classes)
        if index not in used
    ]
