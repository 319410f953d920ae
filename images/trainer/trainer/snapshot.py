"""A round's dataset: images, boxes and sides, frozen in snapshot.json (COCO's format and more)."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labelloop.files import replacing, write_bytes
from labelloop.images import SUFFIXES, ImageError, image_size, read_image
from labelloop.labels import LabelConfig, parse_label_config
from labelloop.regions import from_results
from labelloop.registry import Registry, sha256_file
from labelloop.settings import Settings
from labelloop.studio import LABELLED, Studio
from labelloop.task_images import resolve_task_image
from trainer import split
from trainer.split import Side

SNAPSHOT = "snapshot.json"
Progress = Callable[[float, str], None]


class SnapshotError(RuntimeError):
    """There is nothing to train on; the message says what is missing."""


@dataclass(frozen=True)
class SnapshotImage:
    """One labelled image. xyxy in pixels of the oriented image, labels index the snapshot's classes.

    file: relative to LABELLOOP_HOME, or absolute when it lies outside.
    """

    id: int
    task: int
    file: str
    sha256: str
    width: int
    height: int
    side: Side
    xyxy: tuple[tuple[float, float, float, float], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """A project's labelled images at one moment. skipped: what could not be used, as task, url and reason."""

    project: int
    label_config_xml: str
    images: tuple[SnapshotImage, ...]
    skipped: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

    @property
    def label_config(self) -> LabelConfig:
        return parse_label_config(self.label_config_xml)

    @property
    def classes(self) -> list[str]:
        return self.label_config.names

    @property
    def train(self) -> list[SnapshotImage]:
        return [image for image in self.images if image.side is Side.TRAIN]

    @property
    def holdout(self) -> list[SnapshotImage]:
        return [image for image in self.images if image.side is Side.HOLDOUT]

    @property
    def labelled(self) -> int:
        return len(self.images)

    @property
    def boxes(self) -> int:
        return sum(len(image.labels) for image in self.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over classes, image bytes, sides and boxes, whatever the files' order and names."""
        digest = hashlib.sha256(f"[{json.dumps(self.classes)}, [".encode())
        for position, image in enumerate(sorted(self.images, key=lambda image: image.sha256)):
            boxes = sorted([label, *(round(side, 2) for side in box)] for label, box in _pairs(image))
            row = json.dumps([image.sha256, image.side, boxes])
            digest.update((", " if position else "").encode() + row.encode())
        digest.update(b"]]")
        return digest.hexdigest()

    def coco_json(self, images: Sequence[SnapshotImage]) -> str:
        """Some of the images as COCO's json; category ids are 1 + the class's index."""
        return "".join(self.coco_lines(images))

    def coco_lines(self, images: Sequence[SnapshotImage]) -> Iterator[str]:
        """`coco_json` in pieces, to be written as they come."""
        return _coco(self.classes, images, {})

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
        with (
            replacing(round_dir / SNAPSHOT) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.writelines(_coco(self.classes, self.images, more))

    @classmethod
    def load(cls, round_dir: Path) -> "Snapshot":
        document = json.loads((round_dir / SNAPSHOT).read_text(encoding="utf-8"))
        boxes: dict[int, list[Any]] = {image["id"]: [] for image in document["images"]}
        for row in document["annotations"]:
            x, y, w, h = row["bbox"]
            boxes[row["image_id"]].append((_rounded((x, y, x + w, y + h)), row["category_id"] - 1))
        images = tuple(
            SnapshotImage(
                id=row["id"],
                task=row["task"],
                file=row["file_name"],
                sha256=row["sha256"],
                width=row["width"],
                height=row["height"],
                side=Side(row["side"]),
                xyxy=tuple(box for box, _ in boxes[row["id"]]),
                labels=tuple(label for _, label in boxes[row["id"]]),
            )
            for row in document["images"]
        )
        info = document["info"]
        return cls(
            info["project"],
            info["label_config"],
            images,
            tuple(document["skipped"]),
            tuple(document["warnings"]),
        )


def take(
    studio: Studio, project_id: int, settings: Settings, round_dir: Path, progress: Progress
) -> Snapshot:
    """Reads a project's submitted annotations and their images, settles the sides, writes snapshot.json.

    A folder that has a snapshot keeps it. Skipped annotations don't count; the newest submitted one of a task
    does, an empty one makes a negative. Of tasks with the same bytes the newest annotation counts. Images
    over HTTP are kept in the cache. What cannot be read is listed with its reason.

    Raises:
        SnapshotError: no image, or no box, to train on. split.SplitError: split.json is damaged.
        labels.LabelConfigError: the project has no bounding boxes. studio.StudioError: Label Studio does not
        answer.
    """
    if (round_dir / SNAPSHOT).exists():
        return Snapshot.load(round_dir)
    xml = str(studio.project(project_id)["label_config"])
    split_file = Registry(settings.models_dir).project(project_id).path / split.SPLIT_FILE
    collector = _Collector(parse_label_config(xml), settings, frozenset(split.load(split_file)))
    total = studio.count_tasks(project_id, LABELLED)
    for number, task in enumerate(studio.annotated_tasks(project_id), start=1):
        collector.add(task)
        progress(min(number / max(total, 1), 1.0), f"image {number} of {total}")
    sides = split.settle(split_file, collector.images, settings.holdout_percent)
    images = tuple(
        replace(image, id=number, side=sides[image.sha256])
        for number, image in enumerate(
            sorted(collector.images.values(), key=lambda image: image.task), start=1
        )
    )
    snapshot = Snapshot(project_id, xml, images, tuple(collector.skipped), tuple(collector.warnings))
    _require_data(snapshot)
    snapshot = replace(snapshot, warnings=(*snapshot.warnings, *_unused_labels(snapshot)))
    round_dir.mkdir(parents=True, exist_ok=True)
    snapshot.write(round_dir)
    return snapshot


class _Collector:
    """Labelled images by the SHA-256 of their bytes, and what could not be used."""

    def __init__(self, config: LabelConfig, settings: Settings, decoded_before: frozenset[str]) -> None:
        self._config = config
        self._settings = settings
        self._decoded_before = decoded_before
        self._submitted: dict[str, datetime] = {}
        self.images: dict[str, SnapshotImage] = {}
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
            self.skipped.append({"task": task["id"], "url": url, "reason": str(error)})
            return
        self.warnings += [f"task {task['id']}: {problem}" for problem in problems]
        submitted, known = _submitted_at(annotation), self.images.get(image.sha256)
        if known is not None:
            loser, winner = (
                (known.task, image.task)
                if submitted > self._submitted[image.sha256]
                else (image.task, known.task)
            )
            reason = f"the same bytes as the image of task {winner}, which was labelled later"
            self.skipped.append(
                {"task": loser, "url": url if loser == image.task else known.file, "reason": reason}
            )
            if loser == image.task:
                return
        self.images[image.sha256] = image
        self._submitted[image.sha256] = submitted

    def _read(
        self, task: Mapping[str, Any], url: object, annotation: Mapping[str, Any]
    ) -> tuple[SnapshotImage, list[str]]:
        source = resolve_task_image(url, self._settings, task["id"])
        try:
            digest = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_file(source)
        except OSError as error:
            raise ImageError(f"{url}: {error.strerror}") from error
        width, height = image_size(source, str(url))
        if digest not in self._decoded_before:
            read_image(source, str(url))
        boxes, problems = from_results(annotation.get("result") or [], self._config, (width, height))
        return (
            SnapshotImage(
                id=0,
                task=int(task["id"]),
                file=self._file(source, digest, str(url)),
                sha256=digest,
                width=width,
                height=height,
                side=Side.TRAIN,
                xyxy=tuple(_rounded(corners) for corners in boxes.xyxy.tolist()),
                labels=tuple(int(label) for label in boxes.labels),
            ),
            problems,
        )

    def _file(self, source: Path | bytes, digest: str, url: str) -> str:
        if isinstance(source, bytes):
            suffix = Path(urlsplit(url).path).suffix.lower()
            path = self._settings.cache_dir / "images" / (digest + (suffix if suffix in SUFFIXES else ""))
            if not path.exists():
                write_bytes(path, source)
            source = path
        home = self._settings.labelloop_home.resolve()
        resolved = source.resolve()
        return str(resolved.relative_to(home) if resolved.is_relative_to(home) else resolved)


def newest_submitted(annotations: object) -> Mapping[str, Any] | None:
    """Of a task's list of annotations the one that counts; None when all were skipped."""
    submitted = [
        annotation
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    return max(submitted, key=lambda annotation: (_submitted_at(annotation), _id(annotation)), default=None)


def _submitted_at(annotation: Mapping[str, Any]) -> datetime:
    """Imported annotations may have no date that can be read: they are older than all that have."""
    for key in ("updated_at", "created_at"):
        try:
            when = datetime.fromisoformat(annotation[key])
        except (KeyError, TypeError, ValueError):
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def _id(annotation: Mapping[str, Any]) -> int:
    identity = annotation.get("id")
    return identity if isinstance(identity, int) else 0


def _require_data(snapshot: Snapshot) -> None:
    if not snapshot.train:
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
            f"none of the {len(snapshot.train)} training images of project {snapshot.project} has a box; "
            "label some that do"
        )


def _unused_labels(snapshot: Snapshot) -> list[str]:
    used = {label for image in snapshot.train for label in image.labels}
    return [
        f"label {name!r} has no box in the training images"
        for index, name in enumerate(snapshot.classes)
        if index not in used
    ]


def _rounded(corners: Sequence[float]) -> tuple[float, float, float, float]:
    """To hundredths of a pixel, so that writing and reading a snapshot gives the same one."""
    x1, y1, x2, y2 = (round(corner, 2) for corner in corners)
    return x1, y1, x2, y2


def _pairs(image: SnapshotImage) -> Iterable[tuple[int, tuple[float, float, float, float]]]:
    return zip(image.labels, image.xyxy, strict=True)


def _coco(
    classes: Sequence[str], images: Sequence[SnapshotImage], more: Mapping[str, object]
) -> Iterator[str]:
    """COCO's json with `more` in it, a line an image and a box.

    In pieces: as one document it takes ten times the memory of the images themselves.
    """
    yield '{"images": ['
    yield from _lines(_image_row(image) for image in images)
    yield '\n],\n"annotations": ['
    yield from _lines(_box_rows(images))
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    yield f'\n],\n"categories": {json.dumps(categories)}'
    for name, value in more.items():
        yield f",\n{json.dumps(name)}: {json.dumps(value)}"
    yield "}\n"


def _lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    for position, row in enumerate(rows):
        yield (",\n" if position else "\n") + json.dumps(row)


def _image_row(image: SnapshotImage) -> dict[str, object]:
    return {
        "id": image.id,
        "file_name": image.file,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "task": image.task,
        "side": image.side,
    }


def _box_rows(images: Iterable[SnapshotImage]) -> Iterator[dict[str, object]]:
    boxes = ((image.id, label, box) for image in images for label, box in _pairs(image))
    for number, (image_id, label, (x1, y1, x2, y2)) in enumerate(boxes, start=1):
        yield {
            "id": number,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
