"""Learns from what a project's people have submitted, at once: one image after the other, one head."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from labelloop import tidying
from labelloop.boxes import Boxes, Floats
from labelloop.card import NO_BOX
from labelloop.detector import Detector, load_weights
from labelloop.errors import Explained
from labelloop.images import ImageError, Pixels, read_or_reason
from labelloop.instant import HEAD, champion_of, is_instant
from labelloop.registry import Card, ProjectModels
from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset import junk
from trainer.dataset.collector import newest_submitted, submitted_at
from trainer.dataset.examine import Examiner, UsedTask
from trainer.dataset.labelled import SnapshotImage
from trainer.instant.base import Base, bytes_of, state_of
from trainer.instant.clicking import clicked
from trainer.instant.evidence import WINDOW, Pair, click_right, is_better, telling
from trainer.instant.fitting import Budget, trained
from trainer.instant.notes import Notes
from trainer.instant.proposing import own_thresholds, proposals
from trainer.instant.refitting import Refitted
from trainer.instant.views import View, look_for
from trainer.judging.effort import NO_CLICKS, TABLES
from trainer.judging.thresholds import Candidates
from trainer.peers.projects import Project
from trainer.training.bundle import libraries
from trainer.training.loading import paint_over
from trainer.words import plural

log = logging.getLogger(__name__)

Task = Mapping[str, Any]

MOST_IMAGES = 24
"""So many of the newest labelled images are learnt from."""
MAPS_BYTES = 256 << 20
"""So much memory their maps may take; the oldest images make room."""
FIRST, NEXT = Budget(80, 6.0), Budget(60, 7.0)
"""For the first head upon a champion, and for one that goes on from the one before."""
KEPT = 2
"""So many of the newest instant versions keep their weights."""
HIGHEST_THRESHOLD = 0.5
"""What a few images have taught is sure of wrong boxes, too: above SCORE_THRESHOLD more of them go."""
ITS_CLICKS = "champion_clicks_right"
RECENT = timedelta(hours=1)
"""Labels that are all older than this start no learning; the next submit does."""


@dataclass
class _Known:
    """An image that is learnt from. look: the size for which its views were made."""

    image: SnapshotImage
    look: int
    views: list[View]


@dataclass
class _Upon:
    """What was learnt upon one champion. detector: the champion itself. knows: whether that one knows any of
    the labels. notes: of the newest version. images: by task, the oldest first. judged: images, and what a
    version found there that had not seen them. newest: the newest version; head: its head, or the one to
    begin with. refitted: the champion with thresholds of the newest labels.
    """

    base: Base
    detector: Detector
    knows: bool
    head: Any
    notes: Notes
    refitted: Refitted
    newest: str | None = None
    images: dict[int, _Known] = field(default_factory=dict)
    judged: list[tuple[SnapshotImage, Boxes]] = field(default_factory=list)


class Learner:
    """Learns for one project. It may be thrown away at any time: the newest version's card tells the next one
    what was learnt, and images are looked at again.
    """

    def __init__(self, settings: Settings, studio: Studio, models: ProjectModels) -> None:
        self._settings = settings
        self._studio = studio
        self._models = models
        self._upon: _Upon | None = None

    def learn(self, project: Project) -> str | None:
        """Learns from the newest labelled images, unless nothing was submitted since.

        Returns: the new instant version, whether it serves or not; None when there is nothing new.

        Raises:
            StudioError: Label Studio does not answer. CannotLearn: the champion's head cannot be learnt.
            RegistryError: a file of the champion is damaged. OSError: a file cannot be written.
        """
        champion, pointer = self._models.champion(), self._models.champion_stamp()
        newest = list(self._newest(project)) if champion else []
        if champion is None or not newest:
            return None
        upon = self._upon_champion(champion, project)
        fresh = [(task, stamp) for task, stamp in newest if upon.notes.learnt.get(int(task["id"])) != stamp]
        if not fresh:
            return None
        seen = {int(task["id"]): stamp for task, stamp in newest}
        numbers = {int(task["id"]) for task, _ in fresh}
        looked_at = self._look_at(upon, project, [task for task, _ in newest], numbers)
        if not any(known.image.labels for known in looked_at.values()):
            upon.notes.learnt = seen  # nothing to find in them; the next submit brings them along
            return None
        stand_in = self._stand_in(upon, project)
        version = self._train(upon, project, numbers & looked_at.keys(), seen)
        if self._models.champion_stamp() == pointer:  # else another version serves, or a label was renamed
            self._decide(upon, project, version, stand_in)
        return version

    def _newest(self, project: Project) -> Iterator[tuple[Task, str]]:
        """The newest labelled tasks with their annotations' stamps, the newest last."""
        tasks = self._studio.newest_labelled(project.id, MOST_IMAGES)
        found = [(task, newest_submitted(task.get("annotations"))) for task in tasks]
        dated = [(submitted_at(row), int(row["id"]), task) for task, row in found if row is not None]
        dated.sort(key=lambda entry: entry[:2])
        if dated and dated[-1][0] >= datetime.now(UTC) - RECENT:
            yield from ((task, f"{number} {at.isoformat()}") for at, number, task in dated)

    def _upon_champion(self, champion: str, project: Project) -> _Upon:
        """What was learnt upon a champion; after a restart what its newest instant version's card tells."""
        names, digest = project.labels.names, self._models.card(champion).weights_sha256
        upon = self._upon
        if upon is not None and upon.notes.fits(digest, names) and upon.base.champion == champion:
            upon.knows = project.label_map(upon.base.card).knows_any
            return upon
        self._upon = None
        base = Base.load(self._models, champion, project.labels)
        detector = Detector.load(self._models.folder(champion), "cpu")
        knows = project.label_map(base.card).knows_any
        own = own_thresholds(base.card, project.labels, self._settings)
        refitted = Refitted(base, own, own)
        notes = Notes(upon=digest, classes=names)
        self._upon = _Upon(base, detector, knows, base.model.bbox_head, notes, refitted)
        with suppress(Explained, ValueError, RuntimeError):
            self._go_on(self._upon, digest, names)
        return self._upon

    def _go_on(self, upon: _Upon, digest: str, names: Sequence[str]) -> None:
        """Takes over what the newest instant version has learnt, if it was learnt upon the same."""
        instant = self._models.instant
        newest_first = reversed(instant.of(upon.base.champion))
        version = next((name for name in newest_first if not instant.card(name).refitted), None)
        if version is None:
            return
        notes = Notes.of(instant.card(version))
        if notes.fits(digest, names):
            self._models.check(version)
            upon.head = upon.base.with_head(load_weights(instant.folder(version) / HEAD))
            upon.notes, upon.newest = notes, version
            upon.refitted.go_on(notes)

    def _look_at(
        self, upon: _Upon, project: Project, tasks: Sequence[Task], fresh: set[int]
    ) -> dict[int, _Known]:
        """By task, the images that can be learnt from, the newest last. What the newest version and the
        champion would have proposed on those that are new to both, and tell, is compared.
        """
        images = dict(self._images(upon, project, tasks, fresh))
        look = look_for(upon.base.look, [_sides(image) for image in images.values()])
        compared = {*telling(tasks, upon.base.card.created_at)} & fresh - upon.notes.learnt.keys()
        before = Detector.load(self._models.folder(upon.newest), "cpu") if upon.newest else None
        known: dict[int, _Known] = {}
        for number, image in images.items():
            former = upon.images.get(number)
            if former is not None and former.look == look and number not in fresh:
                known[number] = former
                continue
            pixels = read_or_reason(self._settings.labelloop_home / image.file)
            if isinstance(pixels, ImageError):
                continue
            try:
                if before is not None and number in compared:
                    self._compare(upon, project, before, image, pixels)
                known[number] = _Known(image, look, _views(upon.base, pixels, image, look))
            except Exception:  # as of an image two pixels high, which no network takes; the others are learnt
                log.exception("task %d: its image cannot be learnt from", number)
        upon.images = _within(known, MAPS_BYTES)
        return upon.images

    def _images(
        self, upon: _Upon, project: Project, tasks: Sequence[Task], fresh: set[int]
    ) -> Iterator[tuple[int, SnapshotImage]]:
        """The tasks' images, without junk, as far as they can be used."""
        examiner = Examiner(project.labels, self._settings, ())
        for task in tasks:
            number = int(task["id"])
            if number in upon.images and number not in fresh:
                yield number, upon.images[number].image
                continue
            annotation = newest_submitted(task.get("annotations"))
            used = examiner.examine(task, annotation) if annotation is not None else None
            if isinstance(used, UsedTask):
                yield number, junk.without(used.image)

    def _compare(
        self, upon: _Upon, project: Project, before: Detector, image: SnapshotImage, pixels: Pixels
    ) -> None:
        """Notes what the newest version and the champion would have cost on an image that is new to both."""
        seen = [known.image for known in upon.images.values() if known.image.task != image.task]
        (boxes, raw), (its_boxes, its_raw) = (one.both(pixels) for one in (before, upon.detector))
        clicks = right = its_right = 0
        if project.clicks:
            clicks, right = clicked(before, raw, image, project.labels, seen)
            _, its_right = clicked(upon.detector, its_raw, image, project.labels, seen)
        pair = Pair(
            task=image.task,
            version=before.version,
            clicks=clicks,
            clicks_right=right,
            champion_clicks_right=its_right,
        )
        pairs = [*upon.notes.pairs, pair]
        limits = self._refitted(upon, project) if upon.knows else None
        mine, its = (
            proposals(detector, found, image, project.labels, self._settings, _chance(project, pairs, of), at)
            for detector, found, of, at in (
                (before, boxes, "clicks_right", None),
                (upon.detector, its_boxes, ITS_CLICKS, limits),
            )
        )
        pair = pair.model_copy(update={"instant": mine.seconds, "champion": its.seconds})
        upon.notes.pairs = [*upon.notes.pairs, pair][-WINDOW:]
        upon.judged = [*upon.judged, (image, mine.found)][-WINDOW:]
        upon.refitted.note(image, its.found)

    def _refitted(self, upon: _Upon, project: Project) -> list[float]:
        """By label, the champion's thresholds as the newest labels have them."""
        chance = _chance(project, upon.notes.pairs, ITS_CLICKS)
        costs, usual = TABLES[self._settings.costs], self._settings.score_threshold
        return upon.refitted.thresholds(costs, chance, usual)

    def _stand_in(self, upon: _Upon, project: Project) -> str | None:
        """What shows the champion's boxes by refitted thresholds; None where the champion itself does.

        It does until the project shows its boxes, which is when all images have them. An instant version
        would end that work, and with it the order in which people get images, and what they can verify.
        """
        if not upon.knows:
            return None
        limits = self._refitted(upon, project)
        upon.notes.refitted = dict(zip(project.labels.names, limits, strict=True))
        if not _shows(project, upon.base.champion):
            return None
        return upon.refitted.stand_in(self._models, limits, upon.notes)

    def _train(self, upon: _Upon, project: Project, new: set[int], learnt: dict[int, str]) -> str:
        """Trains the head and writes a version. new: the tasks that it has not seen."""
        began = time.monotonic()
        groups: dict[bool, list[View]] = {True: [], False: []}
        for number, known in upon.images.items():
            groups[number in new] += known.views
        budget = NEXT if upon.newest else FIRST
        upon.head = trained(upon.head, groups[False], groups[True], budget, seed=len(learnt))
        notes = upon.notes.model_copy(update={"learnt": learnt})
        card = self._card(upon, project, notes, time.monotonic() - began)
        head = bytes_of(state_of(upon.head))
        upon.newest = self._models.instant.write(upon.base.champion, card, head)
        upon.notes = notes
        return upon.newest

    def _card(self, upon: _Upon, project: Project, notes: Notes, seconds: float) -> Card:
        names, images = project.labels.names, [known.image for known in upon.images.values()]
        counts = Counter(label for image in images for label in image.labels)
        look = next(reversed(upon.images.values())).look
        return Card(
            detector=upon.base.card.detector,
            classes=names,
            start_weights=upon.newest or upon.base.champion,
            dataset_fingerprint=f"instant, {len(images)} images",
            images=len(images),
            boxes=sum(counts.values()),
            boxes_by_class={name: counts[index] for index, name in enumerate(names)},
            verdict="learnt at once",
            reason=_words(notes.pairs, upon.base.champion, project),
            score_thresholds=self._thresholds(upon, project),
            overlaps=tidying.learned(((image.xyxy, image.labels) for image in images), names),
            look=look,
            mirrored=upon.base.card.mirrored,
            instant=notes.model_dump(),
            seconds=round(seconds, 1),
            device="cpu, 1 thread",
            libraries=libraries(),
        )

    def _thresholds(self, upon: _Upon, project: Project) -> dict[str, float]:
        """By label, from images that the version that found boxes there had not seen. After a restart, those
        of the version before, until there are such images again.

        Where boxes cost more time than they save, upon a champion that proposes nothing either, none is
        shown: what was learnt answers clicks alone.
        """
        if not upon.judged and upon.newest is not None:
            return self._models.instant.card(upon.newest).score_thresholds
        images, found = [image for image, _ in upon.judged], [boxes for _, boxes in upon.judged]
        if not images:
            return {}
        names, costs = project.labels.names, TABLES[self._settings.costs]
        chance, usual = _chance(project, upon.notes.pairs), self._settings.score_threshold
        candidates = Candidates.of(len(names), images, found, costs, chance)
        highest = max(usual, HIGHEST_THRESHOLD)
        if not upon.knows and candidates.spent(usual, highest) > 0:
            return dict.fromkeys(names, NO_BOX)
        chosen = candidates.thresholds(usual, highest)
        return {names[label]: value for label, value in chosen.items()}

    def _decide(self, upon: _Upon, project: Project, version: str, stand_in: str | None) -> None:
        """Puts a version into service, or its champion if that is better. stand_in: what shows the champion's
        boxes then; None for the champion itself.
        """
        better = is_better(upon.notes.pairs, upon.knows, self._settings.gate_confidence)
        serves = version if better else stand_in
        self._models.instant.serve(serves)
        self._models.instant.clear(KEPT, upon.base.champion)
        serving = serves or upon.base.champion
        log.info(
            "project %d: learnt %s from %d images; %s serves (%s)",
            project.id,
            version,
            len(upon.images),
            serving,
            _words(upon.notes.pairs, upon.base.champion, project),
        )


def _shows(project: Project, champion: str) -> bool:
    """Whether the project's pages show a champion's boxes, or those of an instant version upon it."""
    shown = project.model_version
    return shown == champion or (is_instant(shown) and champion_of(shown) == champion)


def _views(base: Base, pixels: Pixels, image: SnapshotImage, look: int) -> list[View]:
    """What is learnt from an image, on whose pixels is painted."""
    ignored = [corners for _, corners in image.ignored]
    paint_over(pixels, *(np.array(rows, np.float32).reshape(-1, 4) for rows in (ignored, image.xyxy)))
    return base.views(pixels, image, look)


def _chance(project: Project, pairs: Sequence[Pair], of: str = "clicks_right") -> float:
    """`click_right`, where clicks fetch boxes in the project."""
    return click_right(pairs, of) if project.clicks else NO_CLICKS


def _words(pairs: Sequence[Pair], upon: str, project: Project) -> str:
    """What the comparison with the champion says. upon: that one's name."""
    if not pairs:
        return "no image was labelled since the first version was learnt"
    instant, champion = (sum(getattr(pair, of) for pair in pairs) for of in ("instant", "champion"))
    images = plural(len(pairs), "image")
    adding = "clicking on" if project.clicks else "drawing"
    return (
        f"on {images} that neither had seen, correcting its boxes and {adding} what they miss would have "
        f"taken {instant:.0f} s, with {upon} {champion:.0f} s"
    )


def _sides(image: SnapshotImage) -> tuple[int, Floats]:
    """An image's long side and its boxes."""
    return max(image.width, image.height), np.asarray(image.xyxy, dtype=np.float32).reshape(-1, 4)


def _within(images: dict[int, _Known], most: int) -> dict[int, _Known]:
    """The newest images whose maps take at most `most` bytes, but for the newest in any case."""
    kept: dict[int, _Known] = {}
    for number, known in reversed(images.items()):
        most -= sum(view.nbytes for view in known.views)
        if kept and most < 0:
            break
        kept[number] = known
    return dict(reversed(kept.items()))
