"""A round's dataset: images, boxes and sides, frozen in snapshot.json (COCO's format and more)."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ijson

from labelloop.errors import Explained
from labelloop.files import sha256_file, write_bytes, write_lines
from labelloop.images import SUFFIXES, Examined, ImageAway, ImageError, examine, image_size
from labelloop.labels import LabelConfig, parse_label_config
from labelloop.locks import holding
from labelloop.regions import from_results
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import LABELLED, Studio
from labelloop.task_images import image_name, resolve_task_image
from trainer.dataset import coco, split
from trainer.dataset.labelled import LabelledImages, SnapshotImage, rounded
from trainer.dataset.remote_images import RemoteImages
from trainer.dataset.split import Side
from trainer.peers.projects import fetch
from trainer.rounds.folder import SNAPSHOT

WAIT_S = 600.0
PATIENCE_S = 180.0
MOST_AWAY = 2000
"""So many tasks whose images are away are kept in memory, to be asked for again."""
FIRST_PAUSE_S = 1.0
Progress = Callable[[float, str], None]


class SnapshotError(Explained):
    """There is nothing to train on; the message says what is missing or damaged."""


@dataclass(frozen=True)
class Snapshot:
    """A project's labelled images at one moment.

    skipped: the tasks that could not be used, each with task, url (without its query, or a file's path) and
    reason.
    """

    project: int
    label_config_xml: str
    images: LabelledImages
    skipped: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

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
            row = json.dumps([image.sha256, image.side, boxes])
            digest.update((", " if position else "").encode() + row.encode())
        digest.update(b"]]")
        return digest.hexdigest()

    def coco_lines(self, images: Collection[SnapshotImage]) -> Iterator[str]:
        """Some of the images as COCO's JSON, in pieces to be written as they come.

        Category ids are 1 + the class's index.
        """
        return coco.lines(self.classes, images, {})

    def write(self, round_dir: Path) -> None:
        more = {
            "info": {
                "project": self.project,
                "fingerprint": self.fingerprint,
                "label_config": self.label_config_xml,
            },
            "skipped": self.skipped,
            "warnings": self.warnings,
        }
        write_lines(round_dir / SNAPSHOT, coco.lines(self.classes, self.images, more))

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
            images = LabelledImages(coco.read_images(path))
        except ijson.JSONError as error:
            raise ValueError("no JSON, " + str(error).partition("\n")[0]) from error
        return cls(info["project"], info["label_config"], images, tuple(skipped), tuple(warnings))


@contextmanager
def snapshotting(rounds_dir: Path) -> Iterator[None]:
    """Lets only one snapshot be taken at a time, since snapshots settle the sides of images.

    Raises:
        Busy: another snapshot took longer than WAIT_S.
    """
    with holding(rounds_dir / "snapshot.lock", WAIT_S):
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
    snapshot = collect(studio, project_id, settings, progress)
    round_dir.mkdir(parents=True, exist_ok=True)
    snapshot.write(round_dir)
    return snapshot


def collect(studio: Studio, project_id: int, settings: Settings, progress: Progress) -> Snapshot:
    """Reads a project's submitted annotations and their images, and settles the sides.

    Of each task the newest submitted annotation counts; skipped annotations do not count. An empty annotation
    makes the image a negative. Of tasks with the same image bytes, the newest annotation counts. Images that
    are downloaded are kept in the cache, and used from there when they are away. Images that are away and
    were never had are asked for again for PATIENCE_S. Images that cannot be read are listed with the reason.

    Raises:
        SnapshotError: there is no image, or no box, to train on. split.SplitError: split.json is damaged.
        labels.LabelConfigError: the project has no bounding boxes. studio.StudioError: Label Studio does not
        answer.
    """
    project = fetch(studio, project_id)
    split_file = Registry(settings.models_dir).project(project_id).path / split.SPLIT_FILE
    remote = RemoteImages(settings.cache_dir)
    collector = _Collector(project.labels, settings, split.load(split_file), remote)
    total = studio.count_tasks(project_id, LABELLED)
    for number, task in enumerate(studio.annotated_tasks(project_id), start=1):
        collector.add(task)
        progress(min(number / max(total, 1), 1.0), f"image {number} of {total}")
    collector.add_what_was_away(lambda words: progress(1.0, words))
    digests = (image.sha256 for image in collector.images)
    sides = split.settle(split_file, digests, settings.holdout_percent)
    images = LabelledImages(
        replace(image, id=number, side=sides[image.sha256])
        for number, image in enumerate(collector.images, start=1)
    )
    snapshot = Snapshot(
        project_id, project.label_config, images, tuple(collector.skipped), tuple(collector.warnings)
    )
    _require_data(snapshot)
    return replace(snapshot, warnings=(*snapshot.warnings, *_unused_labels(snapshot)))


class _Collector:
    """Collects labelled images with different bytes, in the order of their tasks, and what could not be used.

    decoded_before: the SHA-256 of images that were decoded before, so that they need not be checked again.
    """

    def __init__(
        self, config: LabelConfig, settings: Settings, decoded_before: Container[str], remote: RemoteImages
    ) -> None:
        self._config = config
        self._settings = settings
        self._decoded_before = decoded_before
        self._remote = remote
        self._away: list[tuple[Mapping[str, Any], ImageAway]] = []
        self.images = LabelledImages()
        self.skipped: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def add(self, task: Mapping[str, Any]) -> None:
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None:
            return
        data = task.get("data")
        url = data.get(self._config.data_key) if isinstance(data, Mapping) else None
        try:
            image, problems = self._read(task, url, annotation)
        except ImageError as error:
            if isinstance(error, ImageAway) and len(self._away) < MOST_AWAY:
                self._away.append((task, error))
                return
            self._leave_out(task["id"], None if url is None else image_name(url), str(error))
            return
        self.warnings += [_printable(f"task {task['id']}: {problem}") for problem in problems]
        submitted = _submitted_at(annotation).timestamp()
        twin = self.images.same_bytes(image.sha256)
        if twin is not None:
            known, known_submitted = twin
            if submitted <= known_submitted:
                self._skip(image, image_name(url), known)
                return
            self._skip(known, known.file, image)
            self.images.remove(known)
        self.images.add(image, submitted)

    def add_what_was_away(self, say: Callable[[str], None]) -> None:
        """Asks again, after longer and longer pauses, for the images that were away. Leaves out those that
        stay so for PATIENCE_S.
        """
        deadline, pause = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while any(away.retry_after is not None for _, away in self._away):
            wanted = max(away.retry_after or 0.0 for _, away in self._away)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            say(f"{len(self._away)} images are away; asking again")
            time.sleep(min(max(pause, wanted), left))
            pause *= 2
            again, self._away = self._away, []
            self._remote.ask_again()
            for task, _ in again:
                self.add(task)
        for task, away in self._away:
            url = task["data"].get(self._config.data_key)
            self._leave_out(task["id"], image_name(url), str(away))
        self._away = []

    def _skip(self, image: SnapshotImage, url: str, winner: SnapshotImage) -> None:
        reason = f"the same bytes as the image of task {winner.task}, which was labelled later"
        self._leave_out(image.task, url, reason)

    def _leave_out(self, task: int, url: str | None, reason: str) -> None:
        shown = None if url is None else _printable(url)
        self.skipped.append({"task": task, "url": shown, "reason": _printable(reason)})

    def _read(
        self, task: Mapping[str, Any], url: object, annotation: Mapping[str, Any]
    ) -> tuple[SnapshotImage, list[str]]:
        source = resolve_task_image(url, self._settings, task["id"], self._remote)
        name = image_name(url)
        try:
            digest = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_file(source)
        except OSError as error:
            raise ImageError(f"{name}: {error.strerror}") from error
        examined = self._examine(source, name, digest)
        width, height = examined.width, examined.height
        boxes, problems = from_results(annotation.get("result") or [], self._config, (width, height))
        return (
            SnapshotImage(
                id=int(task["id"]),
                task=int(task["id"]),
                file=self._file(source, digest, str(url)),
                sha256=digest,
                width=width,
                height=height,
                side=Side.TRAIN,
                xyxy=tuple(rounded(corners) for corners in boxes.xyxy.tolist()),
                labels=tuple(int(label) for label in boxes.labels),
            ),
            [*problems, *([f"{name}: {examined.flaw}"] if examined.flaw else [])],
        )

    def _examine(self, source: Path | bytes, name: str, digest: str) -> Examined:
        if digest in self._decoded_before:
            return Examined(*image_size(source, name))
        return examine(source, name)

    def _file(self, source: Path | bytes, digest: str, url: str) -> str:
        if isinstance(source, bytes):
            suffix = Path(urlsplit(url).path).suffix.lower()
            path = self._settings.cache_dir / "images" / (digest + (suffix if suffix in SUFFIXES else ""))
            if not path.exists():
                write_bytes(path, source)
            source = path
        home = self._settings.labelloop_home.resolve()
        resolved = source.resolve()
        file = str(resolved.relative_to(home) if resolved.is_relative_to(home) else resolved)
        if file != _printable(file):
            raise ImageError(f"{file}: the file's name is not in UTF-8; rename it")
        return file


def _printable(text: str) -> str:
    """Replaces lone surrogates, which stand for bytes that are not UTF-8, as JSON parsers refuse them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def newest_submitted(annotations: object) -> Mapping[str, Any] | None:
    """The annotation that counts in a task's list of annotations; None when all were skipped."""
    submitted = [
        annotation
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    return max(submitted, key=lambda annotation: (_submitted_at(annotation), _id(annotation)), default=None)


def _submitted_at(annotation: Mapping[str, Any]) -> datetime:
    """When an annotation was submitted. An imported one without a readable date counts as older than all
    others.
    """
    for key in ("updated_at", "created_at"):
        try:
            when = datetime.fromisoformat(annotation[key])
        except (KeyError, TypeError, ValueError):
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def _id(annotation: Mapping[str, Any]) -> int:
    number = annotation.get("id")
    return number if isinstance(number, int) else 0


def _require_data(snapshot: Snapshot) -> None:
    trained_on = len(snapshot.train)
    if not trained_on:
        skipped = (
            f" ({len(snapshot.skipped)} could not be used, the first: {snapshot.skipped[0]['reason']})"
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
