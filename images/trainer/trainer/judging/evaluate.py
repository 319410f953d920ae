"""Scores a model on the hold-out, in the project's labels."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import ImageError
from labelloop.mmdet_model import MAX_BOXES
from labelloop.settings import Settings
from labelloop.tidying import Rules, Tidied, Untidy, tidied
from trainer.dataset import junk
from trainer.dataset.coco import annotation
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.judging.corrections import Corrections, on_image
from trainer.judging.detections import found, in_labels, load_detector
from trainer.judging.effort import CLICK_RIGHT, NO_CLICKS, TABLES
from trainer.judging.matches import ClassMatches, mean_average_precision, resamples
from trainer.judging.thresholds import Candidates
from trainer.judging.with_help import found_with
from trainer.peers.pool import Pool

# Per image and label. COCO counts 100, so that in an image with more objects it cannot tell models apart.
MAX_DETECTIONS = MAX_BOXES
COCO_MAX_DETECTIONS = 100
RESAMPLES = 1000
SEED = 20
INTERVAL = (2.5, 97.5)

_Row = tuple[int, int, Corners, float]


class Evaluation(BaseModel):
    """A model's score on a hold-out.

    mAP: COCO's, .50:.95, of at most max_detections boxes per image and label; None when the hold-out has no
    box. per_class: AP by label, without labels that have no box. interval: the 95 % interval of mAP, by
    bootstrap over the images. images, boxes: counts in the hold-out. labelled: the number of images in the
    whole snapshot. trained_on: the number of images that the model has learnt from, 0 for a starting model.
    knows_labels: whether any class of the model becomes a label. score_thresholds: by label,
    the score threshold at which the boxes are the quickest to correct. matches: by label, the data for the
    bootstrap. missing: hold-out images that could no longer be read; they are left out. untidy: by reason,
    how many boxes are not proposed although their score suffices (labelloop.tidying).

    corrections: what a person does with the boxes that are proposed on each image of the hold-out, at
    thresholds that fit the other images. since: the same on images that were labelled after the candidate's
    snapshot, at score_thresholds, which know nothing of them. untidy and corrections are None in what
    earlier releases wrote.
    """

    version: str
    fingerprint: str
    images: int
    boxes: int
    labelled: int
    knows_labels: bool
    trained_on: int = 0  # of the evaluations that earlier releases wrote
    max_detections: int = COCO_MAX_DETECTIONS  # of the evaluations that earlier releases wrote
    mAP: float | None
    AP50: float | None
    per_class: dict[str, float]
    interval: tuple[float, float] | None
    score_thresholds: dict[str, float]
    missing: list[str]
    matches: dict[str, ClassMatches]
    untidy: dict[str, int] | None = None
    corrections: Corrections | None = None
    since: Corrections | None = None

    @property
    def as_today(self) -> bool:
        """Whether this release would find the same mAP: as many boxes count."""
        return self.max_detections == MAX_DETECTIONS

    @property
    def evidence(self) -> Corrections | None:
        """The corrections on all images that the model has not seen; None where they were not counted."""
        if self.corrections is None or self.since is None:
            return self.corrections
        return self.corrections + self.since

    def metrics(self) -> dict[str, Any]:
        """The part of the evaluation that a version's card keeps."""
        return self.model_dump(
            include={
                "mAP",
                "AP50",
                "per_class",
                "interval",
                "images",
                "boxes",
                "fingerprint",
                "max_detections",
                "untidy",
            },
            mode="json",
        )


@dataclass(frozen=True)
class _Looked:
    """Images that could be read, without their junk boxes, and a model's boxes there: all that it found, and
    what is left when each object has one. missing: why others could not be read.
    """

    images: list[SnapshotImage] = field(default_factory=list)
    found: list[Boxes] = field(default_factory=list)
    tidy: list[Tidied] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Boxes]:
        return [boxes.select(tidy.kept) for boxes, tidy in zip(self.found, self.tidy, strict=True)]


def evaluate(
    model: Path | Detector,
    snapshot: Snapshot,
    settings: Settings,
    progress: Callable[[float, str], None],
    since: Sequence[SnapshotImage] = (),
) -> Evaluation:
    """Scores a version's folder, or a loaded detector, on the snapshot's hold-out.

    The model's classes are mapped to the project's labels as they are for pre-labelling, so the untrained
    COCO model and a fine-tuned one are measured in the same way. mAP is of all boxes that the model finds, as
    everywhere else. A person's corrections are of what is proposed: one box for each object, from a threshold
    on.

    since: images that were labelled after the snapshot, on which corrections are counted too.

    Raises:
        registry.RegistryError: the folder holds no model that loads.
    """
    see: Callable[[Sequence[Path]], Iterator[Boxes | ImageError]]
    if isinstance(model, Path):
        detector = load_detector(model, settings)
        see = partial(found_with, Pool.connect(settings), model, detector, settings=settings)
    else:
        detector, see = model, partial(found, model)
    label_map = detector.label_map(snapshot.label_config)
    rules = Rules.of(detector.card, snapshot.label_config)
    holdout = list(snapshot.holdout)
    count = len(holdout) + len(since)

    def look(images: Sequence[SnapshotImage], before: int, words: str) -> _Looked:
        looked = _Looked()
        files = [settings.labelloop_home / image.file for image in images]
        rows = zip(images, in_labels(label_map, see(files)), strict=True)
        for done, (image, boxes) in enumerate(rows, start=1):
            if isinstance(boxes, ImageError):
                looked.missing.append(str(boxes))
            else:
                looked.images.append(junk.without(image))
                looked.found.append(boxes)
                looked.tidy.append(tidied(boxes, rules))
            progress((before + done) / count, f"scored {done} of {len(images)} {words}")
        return looked

    held = look(holdout, 0, "hold-out images")
    newer = look(since, len(holdout), "images labelled since")
    names, usual, costs = snapshot.classes, settings.score_threshold, TABLES[settings.costs]
    chance = CLICK_RIGHT if snapshot.clicks else NO_CLICKS
    candidates = Candidates.of(len(names), held.images, held.left, costs, chance)
    thresholds = candidates.thresholds(usual)
    made = _evaluation(
        detector.version,
        snapshot,
        held.images,
        match(names, held.images, held.found),
        label_map.knows_any,
        held.missing,
        {names[label]: value for label, value in thresholds.items()},
    )
    others = candidates.thresholds_of_others(usual)
    return made.model_copy(
        update={
            "untidy": _untidy(held, made, names, settings),
            "corrections": _corrections(held, others, len(names), settings),
            "since": _corrections(newer, repeat(thresholds), len(names), settings),
            "trained_on": detector.card.images if detector.card else 0,
        }
    )


def _corrections(
    looked: _Looked, thresholds: Iterable[Mapping[int, float]], classes: int, settings: Settings
) -> Corrections:
    """What a person does on each image. thresholds: for each image, by label; SCORE_THRESHOLD for others."""
    usual, costs = settings.score_threshold, TABLES[settings.costs]
    return Corrections.of(
        on_image(image, boxes, [chosen.get(label, usual) for label in range(classes)], costs)
        for image, boxes, chosen in zip(looked.images, looked.left, thresholds, strict=False)
    )


def _untidy(looked: _Looked, made: Evaluation, classes: Sequence[str], settings: Settings) -> dict[str, int]:
    """By reason, how many boxes are not proposed although their score suffices."""
    lowest = [made.score_thresholds.get(name, settings.score_threshold) for name in classes]
    limits = np.array(lowest, dtype=np.float32)
    pairs = zip(looked.tidy, looked.found, strict=True)
    total = sum((tidy.counts(boxes, limits) for tidy, boxes in pairs), Counter[str]())
    return {str(reason): total[str(reason)] for reason in Untidy if total[str(reason)]}


def match(
    classes: Sequence[str], images: Collection[SnapshotImage], found: Sequence[Boxes]
) -> dict[str, ClassMatches]:
    """Matches each image's detections (labels index classes) to its ground truth, one image at a time.

    A detection on an ignored box, more than half of which lies inside that box, does not count.
    """
    from trainer.judging.coco_matching import Matching

    of_class: list[list[dict[str, Any] | None]] = [[] for _ in classes]
    for image, boxes in zip(images, found, strict=True):
        with contextlib.redirect_stdout(io.StringIO()):
            matching = Matching(*_coco(classes, [image], [boxes]), iouType="bbox")
            matching.params.maxDets = [MAX_DETECTIONS]
            matching.params.areaRng, matching.params.areaRngLbl = [[0, 1e10]], ["all"]
            matching.params.imgIds = [1]
            matching.params.catIds = list(range(1, len(classes) + 1))
            matching.evaluate()
        for rows, row in zip(of_class, matching.evalImgs, strict=True):
            rows.append(row and _needed(row))
    return {name: _class_matches(rows) for name, rows in zip(classes, of_class, strict=True)}


def _needed(row: dict[str, Any]) -> dict[str, Any]:
    """What `_class_matches` reads of a row of evalImgs, in a form that takes little memory."""
    ignored = np.asarray(row["dtIgnore"], dtype=bool)
    counted = ~ignored[0]
    matched = ((np.asarray(row["dtMatches"]) > 0) & ~ignored)[:, counted]
    bits = np.arange(len(matched))[:, None]
    return {
        "truths": int(np.count_nonzero(np.equal(row["gtIgnore"], 0))),
        "scores": np.asarray(row["dtScores"], dtype=np.float64)[counted],
        "hits": (matched.astype(np.int64) << bits).sum(axis=0),
    }


def _class_matches(rows: Sequence[dict[str, Any] | None]) -> ClassMatches:
    """One class's matches, from what `_needed` keeps of each image. None means an image without truth and
    detection.
    """
    truths = np.array([row["truths"] if row else 0 for row in rows], dtype=np.int64)
    image, score, hits = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
    for number, row in enumerate(rows):
        if row:
            image.append(np.full(len(row["scores"]), number))
            score.append(row["scores"])
            hits.append(row["hits"])
    scores = np.concatenate(score)
    order = np.argsort(-scores, kind="stable")
    return ClassMatches(
        truths=truths,
        image=np.concatenate(image)[order],
        score=scores[order],
        hits=np.concatenate(hits)[order],
    )


def _coco(
    classes: Sequence[str], images: Collection[SnapshotImage], found: Sequence[Boxes]
) -> tuple[Any, Any]:
    from pycocotools.coco import COCO

    truth: list[_Row] = [
        (number, label, box, 1.0) for number, image in enumerate(images, 1) for label, box in image.boxes
    ]
    detected: list[_Row] = [
        (number, label, (x1, y1, x2, y2), score)
        for number, boxes in enumerate(found, 1)
        for label, (x1, y1, x2, y2), score in zip(
            boxes.labels.tolist(), boxes.xyxy.tolist(), boxes.scores.tolist(), strict=True
        )
    ]
    crowds = [
        (number, label, box, 1.0)
        for number, image in enumerate(images, 1)
        for of_label, box in image.ignored
        for label in ([of_label] if of_label < len(classes) else range(len(classes)))
    ]
    documents = []
    for rows, ignored in ((truth, crowds), (detected, [])):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(1, len(images) + 1)],
            "categories": [{"id": index, "name": name} for index, name in enumerate(classes, 1)],
            "annotations": [
                annotation(number, image, label, box, number > len(rows)) | {"score": score}
                for number, (image, label, box, score) in enumerate([*rows, *ignored], 1)
            ],
        }
        coco.createIndex()
        documents.append(coco)
    return documents[0], documents[1]


def _evaluation(
    version: str,
    snapshot: Snapshot,
    images: Sequence[SnapshotImage],
    matches: dict[str, ClassMatches],
    knows_labels: bool,
    missing: list[str],
    thresholds: dict[str, float],
) -> Evaluation:
    present = {name: row for name, row in matches.items() if row.truths.sum()}
    once = np.ones((1, len(images)))
    per_class = {name: float(row.average_precision(once)[0]) for name, row in present.items()}
    interval = None
    if present:
        resampled = mean_average_precision(list(matches.values()), resamples(len(images), RESAMPLES, SEED))
        low, high = np.nanpercentile(resampled, INTERVAL)
        interval = (float(low), float(high))
    return Evaluation(
        version=version,
        fingerprint=snapshot.fingerprint,
        images=len(images),
        boxes=sum(len(image.labels) for image in images),
        labelled=snapshot.labelled,
        knows_labels=knows_labels,
        max_detections=MAX_DETECTIONS,
        mAP=float(np.mean(list(per_class.values()))) if present else None,
        AP50=float(np.mean([row.average_precision_50() for row in present.values()])) if present else None,
        per_class=per_class,
        interval=interval,
        score_thresholds=thresholds,
        missing=missing,
        matches=matches,
    )
