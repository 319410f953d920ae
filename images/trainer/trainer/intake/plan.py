"""What bringing a dataset will do, image by image, before any of it is done."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from labelloop.files import sha256_file
from labelloop.images import SUFFIX_OF, SUFFIXES, ImageError, image_format, image_size
from labelloop.studio import Studio
from trainer.intake.drafts import Counts, Draft, Drafting
from trainer.intake.existing import Existing, Match, NoMatch
from trainer.intake.named_images import RealPaths, parts_of, real_folder
from trainer.intake.records import BadShape, Record
from trainer.system.scratch import Scratch

_SCHEMA = """
CREATE TABLE rows (
    number INTEGER PRIMARY KEY, name TEXT, how TEXT, effect TEXT, task INTEGER, source TEXT, target TEXT,
    boxes INTEGER, negative INTEGER, body TEXT
);
CREATE TABLE left_out (name TEXT, origin TEXT, reason TEXT);
CREATE TABLE seen (identity TEXT PRIMARY KEY, name TEXT);
CREATE TABLE targets (target TEXT PRIMARY KEY);
"""
_LOOKED_AT_ONCE = 200
_SAME_SHAPE = 0.01
_MAX_DEPTH = 100
_LONGEST_PART = 150
"""Of a path, in bytes: file systems take 255, and a copy that is under way has a longer name."""
_MOST_PARTS = 10
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class How(StrEnum):
    """How an image relates to the project's tasks."""

    NEW = "new"
    BY_BYTES = "by bytes"
    BY_NAME = "by name"


class Effect(StrEnum):
    """What happens to an image."""

    ADD = "labels are added"
    IMAGE = "a task without labels is made"
    NOTHING = "it has a task, and no labels are brought"
    KNOWN = "its labels were brought before"
    KEPT = "people have labelled it here"


WORK = (Effect.ADD, Effect.IMAGE)


@dataclass(frozen=True)
class Step:
    """One image that something is to be done with. source: the file to copy to `target`, below volumes/.
    size: of the body, in bytes of JSON.
    """

    how: How
    task: int | None
    source: Path | None
    target: str | None
    body: dict[str, Any]
    size: int


@dataclass
class Plan:
    """The rows of a plan, in a temporary database, and what was counted on the way."""

    counts: Counts
    store: Scratch = field(default_factory=lambda: Scratch(_SCHEMA))

    def total(self, *effects: Effect) -> int:
        marks = ", ".join("?" * len(effects))
        return self.store.number(f"SELECT count(*) FROM rows WHERE effect IN ({marks})", effects)

    def images(self, how: How, effect: Effect) -> tuple[int, int, int]:
        """How many images, boxes and negatives there are of a kind."""
        row = self.store.row(
            "SELECT count(*), total(boxes), total(negative) FROM rows WHERE how = ? AND effect = ?",
            (how, effect),
        )
        assert row is not None
        return int(row[0]), int(row[1]), int(row[2])

    def left_out(self) -> Iterator[tuple[str, str, str]]:
        """Name, origin and reason of each image that is left out."""
        yield from self.store.rows("SELECT name, origin, reason FROM left_out")

    @property
    def left_out_count(self) -> int:
        return self.store.number("SELECT count(*) FROM left_out")

    def steps(self) -> Iterator[Step]:
        """What is to be done, in the dataset's order."""
        query = "SELECT how, task, source, target, body FROM rows WHERE effect IN (?, ?) ORDER BY number"
        for how, task, source, target, body in self.store.rows(query, WORK):
            file = Path(source) if source else None
            yield Step(How(how), task, file, target, json.loads(body), len(body))


@dataclass
class Planner:
    """Plans for one project. folder: below volumes/images, for new images. date: of labels without one.

    fetch: gets an image that is only named by a URL; raises ImageError.
    """

    studio: Studio
    project_id: int
    existing: Existing
    drafting: Drafting
    images_dir: Path
    folder: str
    date: datetime
    fetch: Callable[[str], Path]

    def __post_init__(self) -> None:
        self.plan = Plan(self.drafting.counts)
        self._real_paths = RealPaths()
        self._real_images = real_folder(self.images_dir)
        self._waiting: list[tuple[int, dict[str, Any]]] = []

    def run(self, records: Iterable[Record], progress: Callable[[int], None]) -> Plan:
        """Plans all records. progress: told how many are planned."""
        for number, record in enumerate(records, start=1):
            try:
                self._add(number, record)
            except (_LeaveOut, BadShape, ImageError) as error:
                self._leave_out(record, str(error))
            if len(self._waiting) >= _LOOKED_AT_ONCE:
                self._look()
            progress(number)
        self._look()
        return self.plan

    def _add(self, number: int, record: Record) -> None:
        if record.problem:
            raise _LeaveOut(record.problem)
        file = record.file
        if file is None and record.url is not None:
            file = self.fetch(record.url)
        digest = _sha256(file) if file else None
        match = self._match(record, file, digest)
        if match is None and file is None:
            raise _LeaveOut(record.missing or "the image is not there")
        size = self._size(record, file, match)
        identity = digest or f"task {match.task if match else ''}"
        self._once(identity, record.name)
        draft = self.drafting.draft(self._dated(record), size, identity)
        if match is not None:
            self._once(f"task {match.task}", record.name, own=identity)
            self._insert(number, record, draft, match)
            return
        assert file is not None and digest is not None
        self._insert(number, record, draft, None, file, self._target(record.name, file, digest))

    def _match(self, record: Record, file: Path | None, digest: str | None) -> Match | None:
        if file is not None and digest is not None:
            found = self.existing.by_bytes(file.stat().st_size, digest)
            if found is not None:
                return found
        try:
            return self.existing.by_name(record.name, file)
        except NoMatch as error:
            raise _LeaveOut(str(error)) from error

    def _size(self, record: Record, file: Path | None, match: Match | None) -> tuple[int, int]:
        """The image's size as a browser shows it, in pixels."""
        shown = match.file if match is not None and match.file is not None else file
        if shown is None:
            if record.stated is None:
                raise _LeaveOut("the image is not here, and the dataset does not tell its size")
            return record.stated
        width, height = image_size(shown, record.name)
        if record.stated is not None:
            stated_width, stated_height = record.stated
            if abs(width * stated_height - height * stated_width) > _SAME_SHAPE * width * stated_height:
                raise _LeaveOut(
                    f"{width} x {height} pixels as a browser shows it, {stated_width} x {stated_height} in "
                    "the dataset; its boxes would lie elsewhere"
                )
        return width, height

    def _once(self, identity: str, name: str, own: str = "") -> None:
        """Raises _LeaveOut: the dataset has had this image before."""
        if identity == own:
            return
        before = self.plan.store.row("SELECT name FROM seen WHERE identity = ?", (identity,))
        if before is not None:
            raise _LeaveOut(f"the same image as {before[0]}")
        self.plan.store.run("INSERT INTO seen VALUES (?, ?)", (identity, name))

    def _dated(self, record: Record) -> Record:
        """The record with the dataset's date for labels that have none."""
        date = self.date.astimezone(UTC).isoformat()
        labels = tuple(
            labels
            if labels.updated_at
            else replace(labels, created_at=labels.created_at or date, updated_at=date)
            for labels in record.labels
        )
        return replace(record, labels=labels)

    def _target(self, name: str, file: Path, digest: str) -> str:
        """Where a new image goes, as a path below volumes/."""
        real = self._real_paths.of(file)
        if real.startswith(self._real_images):
            return f"images/{real.removeprefix(self._real_images)}"
        if not name.lower().endswith(SUFFIXES):
            name += _suffix_of(file)
        parts = [_plain(part) for part in parts_of(name)[-_MOST_PARTS:]]
        path = self.images_dir.joinpath(self.folder, *parts)
        for candidate in (path, path.with_stem(f"{path.stem}-{digest[:8]}")):
            target = f"images/{candidate.relative_to(self.images_dir).as_posix()}"
            taken = self.plan.store.row("SELECT 1 FROM targets WHERE target = ?", (target.casefold(),))
            free = not candidate.exists() or _sha256(candidate) == digest
            if free and not taken:
                self.plan.store.run("INSERT INTO targets VALUES (?)", (target.casefold(),))
                return target
        raise _LeaveOut(f"another image has the name {path}")

    def _insert(
        self,
        number: int,
        record: Record,
        draft: Draft,
        match: Match | None,
        file: Path | None = None,
        target: str | None = None,
    ) -> None:
        """A row of the plan: of an image that has a task, or of a new one with its file and target."""
        body = {"annotations": draft.annotations, "predictions": draft.predictions, "data": dict(record.data)}
        text = _json(body)
        labelled = bool(draft.annotations or draft.predictions)
        if match is None:
            how, effect = How.NEW, Effect.ADD if labelled else Effect.IMAGE
        else:
            how = How.BY_NAME if match.by_name else How.BY_BYTES
            effect = Effect.ADD if labelled else Effect.NOTHING
            if labelled:
                self._waiting.append((number, {"task": match.task, **_marks(body)}))
        task, source = match.task if match else None, str(file) if file else None
        values = (number, record.name, how, effect, task, source, target, draft.boxes, draft.is_negative)
        self.plan.store.run("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, text))

    def _leave_out(self, record: Record, reason: str) -> None:
        self.plan.store.run(
            "INSERT INTO left_out VALUES (?, ?, ?)",
            (record.name, record.origin, reason.removeprefix(f"{record.name}: ")),
        )

    def _look(self) -> None:
        """Asks what is new about the images that have tasks."""
        if not self._waiting:
            return
        items = [item for _, item in self._waiting]
        told = self.studio.request(
            "POST", f"/labelloop/projects/{self.project_id}/intake", json={"look": True, "items": items}
        )
        for (number, _), done in zip(self._waiting, told["items"], strict=True):
            effect = Effect.ADD
            if done["labelled_here"]:
                effect = Effect.KEPT
            elif not done["annotations"] and not done["predictions"]:
                effect = Effect.KNOWN
            self.plan.store.run("UPDATE rows SET effect = ? WHERE number = ?", (effect, number))
        self._waiting.clear()


class _LeaveOut(Exception):
    """An image is left out; the message says why."""


def _marks(body: dict[str, Any]) -> dict[str, Any]:
    """What tells whether an image's labels were brought before."""
    return {
        "annotations": [{"unique_id": row["unique_id"]} for row in body["annotations"]],
        "predictions": [{"model_version": row["model_version"]} for row in body["predictions"]],
    }


def _json(body: dict[str, Any]) -> str:
    """Raises _LeaveOut: what the dataset says of the image beside its boxes is more than can be stored."""
    try:
        text = json.dumps(body, allow_nan=False)
        text.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise _LeaveOut(f"its data or results cannot be stored: {error}") from None
    brackets = text.count("[") + text.count("{")
    if brackets > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise _LeaveOut(f"its data or results have more than {_MAX_DEPTH} lists within lists")
    return text


def _depth(text: str) -> int:
    """How deep lists and objects lie within each other in a JSON text."""
    depth = deepest = 0
    for mark in _BRACKETS.findall(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    return deepest


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise _LeaveOut(error.strerror or str(error)) from error


def _plain(part: str) -> str:
    """A part of a path that is neither hidden, nor unprintable, nor too long.

    Raises:
        _LeaveOut: it is not UTF-8.
    """
    try:
        encoded = part.encode("utf-8")
    except UnicodeEncodeError:
        raise _LeaveOut("the file's name is not UTF-8; rename it") from None
    if len(encoded) > _LONGEST_PART:
        suffix = PurePosixPath(part).suffix
        kept = encoded[: _LONGEST_PART - len(suffix.encode())].decode("utf-8", "ignore")
        part = kept + suffix if len(suffix) < 10 else encoded[:_LONGEST_PART].decode("utf-8", "ignore")
    plain = _CONTROL.sub("_", part)
    return f"_{plain[1:]}" if plain.startswith(".") else plain


def _suffix_of(file: Path) -> str:
    """A suffix for an image whose name has none of ours, by what it is.

    Raises:
        _LeaveOut: it is of a kind that has none. ImageError: it cannot be read.
    """
    found = image_format(file)
    suffix = SUFFIX_OF.get(found)
    if suffix is None:
        raise _LeaveOut(f"an image of the kind {found}; convert it to JPEG or PNG")
    return suffix
