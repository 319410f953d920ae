"""Reads one labelled task: the image with its boxes, or the reason why it is left out."""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelloop.files import sha256_file
from labelloop.images import ImageAway, ImageError, image_size
from labelloop.images import examine as decode
from labelloop.labels import LabelConfig
from labelloop.regions import Regions, read_regions
from labelloop.remote_images import RemoteImages
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage, rounded
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.split import Side
from trainer.words import first_of, in_utf8

Json = Mapping[str, Any]

NOMINAL = (1000, 1000)


@dataclass(frozen=True)
class UsedTask:
    """A labelled task whose image is used.

    boxes_left_out: junk among its boxes. answers: choices about it that have no meaning for the loop. name:
    the image in messages. flaw: what the file lacks, where it is used as far as browsers show it.
    """

    image: SnapshotImage
    boxes_left_out: list[LeftOut] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    name: str = ""
    flaw: str = ""


class Examiner:
    """Reads tasks of one project.

    decoded_before: the SHA-256 of images that were decoded before, so that they need not be checked again.
    """

    def __init__(self, config: LabelConfig, settings: Settings, decoded_before: Container[str]) -> None:
        self._config = config
        self._settings = settings
        self._decoded_before = decoded_before

    @cached_property
    def remote(self) -> RemoteImages:
        """What is downloaded goes through this cache."""
        return RemoteImages(self._settings.cache_dir, self._settings.outside)

    def examine(self, task: Json, annotation: Json) -> UsedTask | LeftOut:
        """The task's image, of side TRAIN, with the boxes of the annotation that counts.

        The annotation is looked at first: an image that it leaves out need not be fetched. Images that are
        downloaded are kept in the cache.
        """
        refused = self.refused(task, annotation)
        if refused is not None:
            return refused
        url, shown = self._url(task)
        try:
            return self._examined(task, url, shown, annotation)
        except _Unusable as error:
            reason = in_utf8(str(error))
            return LeftOut(int(task["id"]), shown, error.kind, reason, retry_after=error.retry_after)

    def _url(self, task: Json) -> tuple[object, str | None]:
        """The URL in a task's data, and how it is shown."""
        url = self._config.image_of(task.get("data"))
        return url, None if url is None else in_utf8(image_name(url))

    def refused(self, task: Json, annotation: Json) -> LeftOut | None:
        """Why the annotation alone leaves the image out; None when it does not."""
        number, (_, url) = int(task["id"]), self._url(task)
        found = read_regions(annotation.get("result") or [], self._config, NOMINAL)
        if found.excluding:
            ticked = ", ".join(repr(choice) for choice in dict.fromkeys(found.excluding))
            return LeftOut(number, url, Kind.EXCLUDED, in_utf8(f"{ticked} is ticked"))
        if found.faults:
            labels = tuple(dict.fromkeys(map(in_utf8, found.unknown)))
            kind = Kind.UNKNOWN_LABEL if labels else Kind.REGION
            return LeftOut(number, url, kind, in_utf8(first_of(found.faults)), labels)
        return None

    def _examined(self, task: Json, url: object, shown: str | None, annotation: Json) -> UsedTask | LeftOut:
        number, name = int(task["id"]), image_name(url)
        source, digest = self._bytes(task, url, name)
        flaw = ""
        try:
            if digest in self._decoded_before:
                size = image_size(source, name)
            else:
                decoded = decode(source, name)
                size, flaw = (decoded.width, decoded.height), decoded.flaw
        except ImageAway as away:
            raise _Unusable(Kind.AWAY, str(away), away.retry_after) from away
        except ImageError as error:
            raise _Unusable(Kind.UNREADABLE, str(error)) from error
        found = read_regions(annotation.get("result") or [], self._config, size)
        bare = SnapshotImage(
            id=number,
            task=number,
            file=self._file(source, str(url)),
            sha256=digest,
            width=size[0],
            height=size[1],
            side=Side.TRAIN,
            xyxy=(),
            labels=(),
        )
        image = with_regions(bare, found)
        dropped = _junk(image, shown, found, self._config.names)
        if dropped and not junk.without(image).labels:
            reason = first_of([row.reason for row in dropped])
            return LeftOut(number, shown, Kind.ONLY_JUNK, reason)
        return UsedTask(image, dropped, found.answers, name, flaw)

    def _bytes(self, task: Json, url: object, name: str) -> tuple[Path | bytes, str]:
        """The image's file or bytes, and the SHA-256 of these."""
        if not isinstance(url, str) or not url.strip():
            raise _Unusable(Kind.NO_URL, f"the task holds no image URL but {str(url)[:80]!r}")
        try:
            source = resolve_task_image(url, self._settings, task["id"], self.remote)
        except ImageAway as away:
            raise _Unusable(Kind.AWAY, str(away), away.retry_after) from away
        except ImageError as error:
            inline = url.strip().startswith("data:")
            raise _Unusable(Kind.UNREADABLE if inline else Kind.AWAY, str(error)) from error
        try:
            return source, hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_file(
                source
            )
        except OSError as error:
            raise _Unusable(Kind.AWAY, f"{name}: {error.strerror}") from error

    def _file(self, source: Path | bytes, url: str) -> str:
        if isinstance(source, bytes):
            source = self.remote.keep(source, url)
        home = self._settings.labelloop_home.resolve()
        resolved = source.resolve()
        file = str(resolved.relative_to(home) if resolved.is_relative_to(home) else resolved)
        if file != in_utf8(file):
            raise _Unusable(Kind.UNREADABLE, f"{file}: the file's name is not in UTF-8; rename it")
        return file


def with_regions(image: SnapshotImage, found: Regions) -> SnapshotImage:
    """The image with the boxes that an annotation of it has."""
    return replace(
        image,
        xyxy=tuple(rounded(corners) for corners in found.boxes.xyxy.tolist()),
        labels=tuple(int(label) for label in found.boxes.labels),
        ignored=tuple(
            (int(label), rounded(corners))
            for label, corners in zip(found.ignored.labels, found.ignored.xyxy.tolist(), strict=True)
        ),
    )


class _Unusable(Exception):
    """A task's image cannot be used."""

    def __init__(self, kind: Kind, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.kind, self.retry_after = kind, retry_after


def _junk(image: SnapshotImage, url: str | None, found: Regions, names: list[str]) -> list[LeftOut]:
    """The boxes that the image is used without, one entry a kind."""
    reasons: dict[Kind, list[str]] = {}
    for kind, told in ((Kind.OUTSIDE, found.outside), (Kind.SPECK, found.thin)):
        if told:
            reasons[kind] = list(told)
    for box in junk.find(image):
        x1, y1, x2, y2 = image.xyxy[box.index]
        said = f"{names[image.labels[box.index]]!r} at x {x1:.5g} to {x2:.5g}, y {y1:.5g} to {y2:.5g} px"
        reasons.setdefault(box.kind, []).append(said)
    return [LeftOut(image.task, url, kind, in_utf8(first_of(told))) for kind, told in reasons.items()]
