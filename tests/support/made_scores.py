"""Rounds with hold-outs of given images, and evaluations with given scores, made in milliseconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from support.shapes import LABEL_CONFIG

from labelloop.files import write_text
from labelloop.registry import Card, ProjectModels
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.judging.corrections import Corrections
from trainer.judging.effort import Work
from trainer.judging.evaluate import MAX_DETECTIONS, Evaluation
from trainer.judging.judgement import Judgement
from trainer.judging.matches import ClassMatches
from trainer.rounds.folder import CANDIDATE
from trainer.rounds.table import Round, Rounds, State


def snapshot_of(train: Iterable[int], holdout: Iterable[int], xml: str = LABEL_CONFIG) -> Snapshot:
    """Images by number, each with a ball and a crate."""
    boxes = ((1.0, 1.0, 9.0, 9.0), (20.0, 20.0, 40.0, 40.0))
    sides = {**dict.fromkeys(train, Side.TRAIN), **dict.fromkeys(holdout, Side.HOLDOUT)}
    images = LabelledImages(
        SnapshotImage(n, n, f"volumes/images/{n}.jpg", f"{n:064d}", 320, 240, side, boxes, (0, 1))
        for n, side in sorted(sides.items())
    )
    return Snapshot(1, xml, images, (), ())


def evaluation(version: str, snapshot: Snapshot, found: Mapping[str, int]) -> Evaluation:
    """found: by label, on how many of the hold-out's images the model finds it; nothing else is found. The
    average precision of a label is the share of its objects that are found, in COCO's steps of a hundredth.
    """
    images = len(snapshot.holdout)
    matches = {name: _matches(images, found.get(name, 0)) for name in snapshot.classes}
    once = np.ones((1, images))
    per_class = {name: float(row.average_precision(once)[0]) for name, row in matches.items()}
    return Evaluation(
        version=version,
        fingerprint=snapshot.fingerprint,
        images=images,
        boxes=images * len(snapshot.classes),
        labelled=snapshot.labelled,
        knows_labels=True,
        max_detections=MAX_DETECTIONS,
        untidy={},
        corrections=Corrections.of(_work(images, found)),
        since=Corrections(rows=[]),
        mAP=float(np.mean(list(per_class.values()))),
        AP50=float(np.mean(list(per_class.values()))),
        per_class=per_class,
        interval=(0.0, 1.0),
        score_thresholds={},
        missing=[],
        matches=matches,
    )


def _work(images: int, found: Mapping[str, int]) -> list[Work]:
    """Of each image what a person does: what the model finds is right, and the rest is drawn."""
    right = [sum(number < count for count in found.values()) for number in range(images)]
    return [Work(accepted=count, drawn=2 - count) for count in right]


def _matches(images: int, found: int) -> ClassMatches:
    every = (1 << 10) - 1
    return ClassMatches(
        truths=np.ones(images, np.int64),
        image=np.arange(found),
        score=np.full(found, 0.9),
        hits=np.full(found, every),
    )


@dataclass
class Judge:
    """Scores a version's folder as told, and notes each. found: by the folder's name, the images on which it
    finds each label.
    """

    found: dict[str, dict[str, int]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, folder: Path, snapshot: Snapshot) -> Evaluation:
        name = folder.name if folder.name != CANDIDATE else f"candidate of {folder.parent.name}"
        self.asked.append(name)
        return evaluation(name, snapshot, self.found[name])


@dataclass
class History:
    """A project's rounds, which have all been trained and judged."""

    models: ProjectModels
    rounds: Rounds
    project: int = 1

    def round(
        self,
        snapshot: Snapshot,
        candidate: Mapping[str, int],
        champion: Mapping[str, int],
        promote: bool = True,
        classes: Sequence[str] = ("ball", "crate"),
        start_weights: str = "COCO weights",
    ) -> Round:
        """A round that is over, without scores beside the versions, as earlier releases left it."""
        served = self.models.champion()
        requested, _ = self.rounds.request(self.project, "a test")
        folder = self.rounds.folder(requested.id)
        folder.mkdir(parents=True, exist_ok=True)
        snapshot.write(folder)
        judged = Judgement(
            candidate=evaluation("", snapshot, candidate),
            champion=evaluation(served or "", snapshot, champion),
            promote=promote,
            reason="",
            p=1.0,
            delta=None,
        )
        before, after = (judged.champion and judged.champion.mAP) or 0.0, judged.candidate.mAP or 0.0
        judged.delta = after - before
        judged.reason = f"mAP {before:.3f} → {after:.3f} on {judged.candidate.images} hold-out images"
        judged.write(folder)
        card = Card(
            detector="yolox_nano",
            classes=list(classes),
            dataset_fingerprint=snapshot.fingerprint,
            images=len(snapshot.train),
            start_weights=start_weights,
        )
        weights = folder / CANDIDATE / "weights.pth"
        write_text(weights, f"weights of round {requested.id}")
        write_text(folder / CANDIDATE / "card.json", card.model_dump_json())
        for state in (State.SNAPSHOTTING, State.TRAINING, State.EVALUATING):
            self.rounds.move(requested.id, state, labelled=snapshot.labelled)
        if not promote:
            return self.rounds.move(requested.id, State.KEPT, verdict=f"kept {served}: a test")
        complete = card.model_copy(
            update={
                "parent": served,
                "round": requested.id,
                "round_requested_at": requested.requested_at,
                "metrics": judged.candidate.metrics() | {"p": 1.0, "delta": judged.delta},
                "reason": judged.reason,
            }
        )
        version = self.models.write(complete, "model = {}\n", weights)
        self.models.promote(version)
        return self.rounds.move(requested.id, State.PROMOTED, version=version, verdict=f"promoted {version}")
