"""Rounds as the real ones leave them: snapshots of pictures, judgements by the real evaluation, versions."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from support import shapes
from support.fake_studio import FakeStudio
from support.labelled_folder import WHEN
from support.snapshot_images import of_picture

from labelloop.boxes import Boxes
from labelloop.files import write_text
from labelloop.images import Pixels
from labelloop.labels import LabelConfig, LabelMap
from labelloop.regions import to_results
from labelloop.registry import Card
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.judging.evaluate import evaluate
from trainer.judging.gate import decide
from trainer.judging.judgement import Judgement
from trainer.judging.scoring import take_over
from trainer.rounds.folder import CANDIDATE, EVALUATION, JOB
from trainer.rounds.table import Round, State
from trainer.training.job import Job


def snapshot_of(loop: WatchedLoop, count: int, project: int = 1, xml: str = shapes.LABEL_CONFIG) -> Snapshot:
    """The first `count` pictures of volumes/images, which are made when they are not there; every fifth is
    held out. Task numbers are the images'.
    """
    pictures = shapes.save(loop.settings.images_dir, count)
    images = []
    for number, (name, made) in enumerate(sorted(pictures.items()), 1):
        path = loop.settings.images_dir / name
        side = Side.HOLDOUT if number % 5 == 0 else Side.TRAIN
        images.append(of_picture(number, made, path, loop.settings.labelloop_home, side))
    return Snapshot(project, xml, LabelledImages(images), (), ())


def label_in(studio: FakeStudio, snapshot: Snapshot, by: int = 2) -> None:
    """Gives Label Studio a task for each image of the snapshot, annotated some days ago as it says. by: the
    number of the person who did.
    """
    for image in snapshot.images:
        boxes = Boxes.of(image.xyxy, [1.0] * len(image.labels), image.labels)
        rows = to_results(boxes, snapshot.label_config, image.width, image.height)
        annotation = {"created_at": WHEN, "updated_at": WHEN, "was_cancelled": False, "completed_by": by}
        task = studio.tasks[studio.add_task(annotations=1)]
        task["data"] = {"image": f"/data/local-files/?d=images/{Path(image.file).name}"}
        task["updated_at"] = WHEN
        task["annotations"] = [{"id": 100 + image.task, **annotation, "result": rows}]


@dataclass
class Guesser:
    """A detector that knows the truth and strays from it: by `stray` pixels, missing and mistaking some."""

    version: str
    stray: float
    truth: dict[bytes, SnapshotImage]
    classes: tuple[str, ...] = shapes.LABELS
    card: Card | None = None
    batch_size: int = 4

    @classmethod
    def of(cls, loop: WatchedLoop, snapshot: Snapshot, version: str, stray: float) -> "Guesser":
        from labelloop.images import read_image

        known = {
            read_image(loop.settings.labelloop_home / image.file).tobytes(): image
            for image in snapshot.images
        }
        return cls(version, stray, known)

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(self.classes, config, trained=True)

    def predict(self, images: list[Pixels]) -> list[Boxes]:
        return [self._guess(self.truth[pixels.tobytes()]) for pixels in images]

    def _guess(self, image: SnapshotImage) -> Boxes:
        rng = np.random.default_rng(image.id)
        rows = []
        for label, box in image.boxes:
            draw = rng.uniform(size=3)
            if draw[0] * 100 < self.stray:
                continue
            shown = 1 - label if draw[1] * 60 < self.stray else label
            rows.append(
                (np.array(box) + rng.normal(0, self.stray / 2, 4), 0.95 - draw[2] * self.stray / 40, shown)
            )
        if rng.uniform() * 60 < self.stray:
            rows.append((np.array([5.0, 5.0, 60.0, 50.0]), 0.45, 0))
        return Boxes.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]).clip(
            image.width, image.height
        )


def finished_round(
    loop: WatchedLoop, count: int, stray: float, champion_stray: float, project: int = 1
) -> Round:
    """A round on the first `count` pictures: its candidate and the champion guess that badly."""
    models = loop.models(project)
    champion = models.champion()
    round_, _ = loop.rounds.request(project, "a test")
    loop.rounds.move(round_.id, State.SNAPSHOTTING, labelled=count, parent=champion)
    folder = loop.rounds.folder(round_.id)
    folder.mkdir(parents=True, exist_ok=True)
    snapshot = snapshot_of(loop, count, project)
    snapshot.write(folder)
    loop.rounds.move(round_.id, State.TRAINING)
    _leave_training(folder, snapshot)
    loop.rounds.move(round_.id, State.EVALUATING)
    settings = loop.settings

    def score(version: str, by: float) -> object:
        guesser = Guesser.of(loop, snapshot, version, by)
        return evaluate(guesser, snapshot, settings, lambda fraction, text: None)  # type: ignore[arg-type]

    candidate, held = score("", stray), score(champion or "", champion_stray)
    verdict = decide(candidate, held, True, settings)  # type: ignore[arg-type]
    judged = Judgement(candidate=candidate, champion=held, **vars(verdict))  # type: ignore[arg-type]
    write_text(folder / EVALUATION, judged.model_dump_json())
    made = Card(
        detector="yolox_nano",
        classes=list(shapes.LABELS),
        dataset_fingerprint=snapshot.fingerprint,
        images=len(snapshot.train),
        boxes=snapshot.boxes,
        look=352,
    )
    weights = folder / CANDIDATE / "weights.pth"
    write_text(weights, f"weights of round {round_.id}")
    write_text(folder / CANDIDATE / "card.json", made.model_dump_json())
    if not verdict.promote:
        closed = loop.rounds.move(round_.id, State.KEPT, verdict=f"kept {champion}: {verdict.reason}")
        take_over(models, loop.rounds, closed)
        return closed
    facts: dict[str, object] = dict(
        parent=champion,
        round=round_.id,
        round_requested_at=round_.requested_at,
        metrics=judged.candidate.metrics() | judged.comparison,
        score_thresholds=judged.candidate.score_thresholds,
        verdict="promoted",
        reason=verdict.reason,
    )
    version = models.write(made.model_copy(update=facts), "model = {}\n", weights)
    models.promote(version)
    closed = loop.rounds.move(
        round_.id, State.PROMOTED, version=version, verdict=f"promoted {version}: {verdict.reason}"
    )
    take_over(models, loop.rounds, closed)
    return closed


def _leave_training(folder: Path, snapshot: Snapshot) -> None:
    job = Job(
        project_id=snapshot.project,
        detector="yolox_nano",
        why="a test",
        parent=None,
        start="COCO weights",
        start_weights="start.pth",
        start_classes=[],
        iterations=120,
        threads=1,
        accelerator="cpu",
    )
    write_text(folder / JOB, job.model_dump_json())
    write_text(
        folder / "metrics.jsonl",
        "".join(f'{{"iter": {n}, "iterations": 120, "loss": {9 / n + 1}}}\n' for n in range(1, 121)),
    )
    write_text(folder / "log.txt", "2026-11-22 20:00:00 INFO a log\n")


def fill(loop: WatchedLoop, studio: FakeStudio) -> None:
    """Three rounds, a failed one among them."""
    finished_round(loop, 20, 9, 30)
    finished_round(loop, 35, 4, 9)
    failed, _ = loop.rounds.request(1, "dashboard, ann@example.org")
    loop.rounds.move(failed.id, State.FAILED, error="training diverged at iteration 12; lower optimizer.lr")
    finished_round(loop, 50, 6, 4)
    for number in range(1, 71):
        studio.add_task(annotations=int(number <= 50))


def relabelled(snapshot: Snapshot) -> Snapshot:
    """With the first image's first box of the other label."""
    first, *others = snapshot.images
    changed = replace(first, labels=(1 - first.labels[0], *first.labels[1:]))
    return replace(snapshot, images=LabelledImages([changed, *others]))
