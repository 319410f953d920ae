"""Snapshot, training, evaluation and gate that take no time and leave the files the real ones leave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from support.shapes import LABEL_CONFIG, LABELS

from labelloop.registry import Card
from labelloop.studio import Studio
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.judging.corrections import Corrections
from trainer.judging.effort import Work
from trainer.judging.evaluate import MAX_DETECTIONS, Evaluation
from trainer.judging.gate import Verdict
from trainer.rounds.folder import SNAPSHOT
from trainer.rounds.metrics import Metrics

Progress = Callable[[float, str], None]


def made_snapshot(project: int = 1) -> Snapshot:
    """Two images with a ball each, one on each side."""
    images = LabelledImages(
        SnapshotImage(
            n, n, f"volumes/images/{n}.jpg", f"{n:064d}", 320, 240, side, ((1.0, 1.0, 9.0, 9.0),), (0,)
        )
        for n, side in ((1, Side.TRAIN), (2, Side.HOLDOUT))
    )
    return Snapshot(project, LABEL_CONFIG, images, (), ())


@dataclass
class FakeLearning:
    """scores: mAP by the name of the model's folder. calls: what was really done, for work that was there is
    not done again. parts: in how many it trains on a batch.
    """

    scores: dict[str, float] = field(default_factory=lambda: {"candidate": 0.6, "v0000": 0.5})
    calls: list[str] = field(default_factory=list)
    parts: int = 1
    during_training: Callable[[], None] = lambda: None

    def snapshot(self, studio: Studio, project_id: int, folder: Path, progress: Progress) -> Snapshot:
        if not (folder / SNAPSHOT).exists():
            studio.project(project_id)
            progress(0.5, "image 1 of 2")
            made_snapshot(project_id).write(folder)
            self.calls.append("snapshot")
        return Snapshot.load(folder)

    def train(
        self,
        folder: Path,
        project_id: int,
        snapshot: Snapshot,
        on_progress: Callable[[Metrics], None],
        should_cancel: Callable[[], bool],
    ) -> Path:
        candidate = folder / "candidate"
        if not candidate.is_dir():
            self.during_training()
            on_progress(Metrics(5, 10, {"loss": 1.5, "loss_bbox": 0.5}, 1.0, 1.0, parts=self.parts))
            temporary = folder / ".candidate"
            temporary.mkdir(exist_ok=True)
            (temporary / "weights.pth").write_bytes(b"trained")
            (temporary / "config.py").write_text("model = {}\n")
            (temporary / "card.json").write_text(
                Card(detector="yolox_nano", classes=list(LABELS)).model_dump_json()
            )
            temporary.rename(candidate)
            self.calls.append("train")
        return candidate

    def since(
        self, studio: Studio, folder: Path, snapshot: Snapshot, began: datetime, progress: Progress
    ) -> Sequence[SnapshotImage]:
        return ()

    def evaluate(
        self, folder: Path, snapshot: Snapshot, progress: Progress, since: Sequence[SnapshotImage] = ()
    ) -> Evaluation:
        progress(1.0, "scored")
        self.calls.append(f"evaluate {folder.name}")
        return Evaluation(
            version=folder.name,
            fingerprint=snapshot.fingerprint,
            images=1,
            boxes=1,
            labelled=2,
            knows_labels=True,
            max_detections=MAX_DETECTIONS,
            untidy={},
            corrections=Corrections.of([Work(drawn=1)]),
            since=Corrections(rows=[]),
            mAP=self.scores[folder.name],
            AP50=self.scores[folder.name],
            per_class={},
            interval=None,
            score_thresholds={"ball": 0.4},
            missing=[],
            matches={},
        )

    def decide(self, candidate: Evaluation, champion: Evaluation | None) -> Verdict:
        if champion is None or candidate.mAP is None or champion.mAP is None:
            return Verdict(True, "there was no champion")
        better = candidate.mAP > champion.mAP
        return Verdict(better, f"mAP {champion.mAP:.3f} → {candidate.mAP:.3f} on 1 hold-out image", 0.9, 0.1)
