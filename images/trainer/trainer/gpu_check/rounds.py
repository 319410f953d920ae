"""A round's training on the GPU, with 16 bits and without, beside the CPU's."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch

from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.demo.parts import LABELS, picture
from trainer.gpu_check.boxes import CLASSES, weights
from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place
from trainer.rounds.folder import METRICS
from trainer.training.job import Job
from trainer.training.process import TrainingCancelled, run

FIRST_OFF = 0.02
"""How far the first loss may be from the CPU's, as a share of it: the same images, the same weights."""
LAST_OFF = 0.3
"""The same for the mean of the last ten that both have: by then rounding has grown."""
WAITED = 0.2
_LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</RectangleLabels></View>"
)
Precision = Literal["auto", "fp32"]


@dataclass(frozen=True)
class Course:
    """losses: by iteration. seconds: of all; waited: of these for images. card: the candidate's, if any."""

    losses: list[float]
    seconds: float
    waited: float
    card: dict[str, Any]


def check(place: Place) -> Iterator[Line]:
    """The first two rounds load their images in the same process, as the CPU does, so that all see the same
    pictures; the third in processes of their own, as in service.
    """
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name), place)
        expected = home.train("cpu", "cpu", "fp32", 0, place.reference_s)
        yield Line("round", "on the CPU", bool(expected.losses), figures(expected), "an iteration in time")
        kind = "cuda" if place.on_gpu else "cpu"
        for precision in ("fp32", "auto"):
            found = home.train(precision, kind, precision, 0)
            yield beside(f"on the device, {precision}", place, expected, found)
        found = home.train("loaded", kind, "auto", None)
        share = found.waited / max(found.seconds, 1e-9)
        told = {**figures(found), "waited for images": share}
        yield Line("round", "images loaded beside", share <= WAITED, told, f"waits of at most {WAITED:.0%}")


def beside(what: str, place: Place, expected: Course, found: Course) -> Line:
    """A round's losses beside the CPU's, over the iterations that both have."""
    both = min(len(expected.losses), len(found.losses))
    figures_ = figures(found)
    if both == 0:
        return Line("round", what, False, figures_, "an iteration on both")
    first = abs(found.losses[0] / expected.losses[0] - 1)
    ours, theirs = (mean(course.losses[max(both - 10, 0) : both]) for course in (found, expected))
    last = abs(ours / theirs - 1)
    ok = len(found.losses) == place.iterations and first <= FIRST_OFF and last <= LAST_OFF
    figures_ |= {"first off by": first, f"mean to iteration {both} off by": last}
    wanted = f"{place.iterations} iterations, the first within {FIRST_OFF:.0%}, later {LAST_OFF:.0%}"
    return Line("round", what, ok, figures_, wanted)


def figures(course: Course) -> dict[str, float | str]:
    if not course.losses:
        return {"iterations": 0.0}
    told = {
        "iterations": float(len(course.losses)),
        "s an iteration": course.seconds / len(course.losses),
        "first loss": course.losses[0],
        "last loss": course.losses[-1],
    }
    kept = {key: str(course.card[key]) for key in ("device", "precision") if course.card.get(key)}
    return {**told, **kept}


class Home:
    """A LABELLOOP_HOME for one check, with the checkout's detectors and made pictures."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._place = place
        self._folder = folder
        (folder / "configs").symlink_to(place.settings.configs_dir.resolve())
        self._settings = Settings(
            labelloop_home=folder, threads=place.settings.threads, accelerator=place.settings.accelerator
        )
        self._settings.images_dir.mkdir(parents=True)
        self._snapshot = self._drawn()
        state, _ = weights(place.trained, place.settings)
        self._start = folder / "start.pth"
        torch.save(dict(state), self._start)

    def train(
        self, name: str, kind: str, precision: Precision, workers: int | None, seconds: float = 300.0
    ) -> Course:
        """Trains a round in a process of its own, for `seconds` at most."""
        folder = self._settings.rounds_dir / name
        folder.mkdir(parents=True)
        self._snapshot.write(folder)
        job = Job(
            project_id=1,
            detector=self._place.trained,
            why="make gpu-check",
            parent=None,
            start="made",
            start_weights=str(self._start),
            start_classes=CLASSES,
            iterations=self._place.iterations,
            threads=self._settings.threads,
            accelerator="cuda" if kind == "cuda" else "cpu",
            checkpoint_every_s=600.0,
            precision=precision,
            loader_workers=workers,
        )
        (folder / "job.json").write_text(job.model_dump_json())
        end, environment = time.monotonic() + seconds, {"LABELLOOP_HOME": str(self._folder)}
        with suppress(TrainingCancelled):
            run(folder, lambda metrics: None, lambda: time.monotonic() > end, environment)
        return course(folder)

    def _drawn(self) -> Snapshot:
        images = []
        for number in range(self._place.pictures):
            made = picture(number)
            path = self._settings.images_dir / made.name
            path.write_bytes(made.jpeg())
            images.append(
                SnapshotImage(
                    id=number,
                    task=number,
                    file=str(path.relative_to(self._folder)),
                    sha256=sha256(path.read_bytes()).hexdigest(),
                    width=made.image.width,
                    height=made.image.height,
                    side=Side.HOLDOUT if number % 8 == 7 else Side.TRAIN,
                    xyxy=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in made.boxes.xyxy.tolist()),
                    labels=tuple(map(int, made.boxes.labels)),
                )
            )
        return Snapshot(1, _LABEL_CONFIG, LabelledImages(images), (), ())


def course(folder: Path) -> Course:
    """What a round's folder tells."""
    path, card = folder / METRICS, folder / "candidate" / "card.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    last = rows[-1] if rows else {"seconds": 0.0, "waited": 0.0}
    told = json.loads(card.read_text()) if card.is_file() else {}
    return Course([row["loss"] for row in rows], last["seconds"], last["waited"], told)
