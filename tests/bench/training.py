"""A round's training: its time against mmdet's own of the same iterations, and what it reaches in that time.

Nothing of Label Studio takes part: the images and boxes of a COCO folder become a round's snapshot directly.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from bench.options import REPO, Options
from bench.report import Figure, figure

from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Sides
from trainer.judging.evaluate import evaluate
from trainer.rounds.folder import METRICS
from trainer.training import process as train
from trainer.training.plan import write_job
from trainer.training.starting import write_starting_model

PROJECT = 1
DETECTOR = "yolox_nano"
ROUND_TARGET = 1.10
WAITED_TARGET = 0.10
REFERENCE_LABELS = 40
REFERENCE_S = 180.0
MMDET_S = 1800


@dataclass(frozen=True)
class Trained:
    """seconds: from the start of the training process to the candidate. scoring: seconds, of both models on
    the hold-out. mAP: on the test images. waited: the share of the iterations' time without images.
    """

    folder: Path
    seconds: float
    scoring: float
    mAP: float
    waited: float = 0.0


def run(options: Options) -> Iterator[Figure]:
    """Time against mmdet's own training, then AP by labels over the seeds, beside the stock schedule's.

    Raises:
        DatasetError: COCO cannot be used. ValueError: the detector's weights are nowhere to be had.
    """
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        bench = Bench(Path(scratch), options)
        start = bench.starting_mAP()
        yield figure("training", "mAP, 0 labels", start, "", f"v0000 on test.json: {bench.start}")
        reference = REFERENCE_LABELS if REFERENCE_LABELS in options.labels else options.labels[0]
        for labels in options.labels:
            ours = [bench.round(labels, seed) for seed in options.seeds]
            if labels == reference:
                yield from _round(bench, labels, ours)
            yield figure(
                "training",
                f"seconds, {labels} labels",
                mean(trained.seconds for trained in ours),
                "s",
                "python -m trainer.training.process",
                at_most=REFERENCE_S if labels == REFERENCE_LABELS else None,
                detail=f"mean of seeds {','.join(map(str, options.seeds))}",
            )
            yield from _reached(bench, labels, ours, start, options.goals.get(labels))


def _round(bench: "Bench", labels: int, ours: Sequence[Trained]) -> Iterator[Figure]:
    """Its time against mmdet's own training, and how much of it was waiting for images."""
    first = ours[0]
    yield figure(
        "training",
        f"training and two evaluations, {labels} labels",
        first.seconds + first.scoring,
        "s",
        "python -m trainer.training.process, against bench.mmdet_training bare and the same evaluations",
        baseline=bench.mmdet("bare", first).seconds + first.scoring,
        at_most=ROUND_TARGET,
    )
    yield figure(
        "training",
        f"share of the iterations' time without images, {labels} labels",
        max(trained.waited for trained in ours),
        "",
        "metrics.jsonl of python -m trainer.training.process",
        at_most=WAITED_TARGET,
    )


def _reached(
    bench: "Bench", labels: int, ours: Sequence[Trained], start: float, goal: float | None
) -> Iterator[Figure]:
    """mAP on the test images, against the goal, the starting model and the stock schedule.

    start: the starting model's; 0 when it knows none of the labels.
    """
    reached = mean(trained.mAP for trained in ours)
    spread = f"± {stdev(trained.mAP for trained in ours):.3f}, {len(ours)} seeds" if len(ours) > 1 else ""
    command = "python -m trainer.training.process"
    yield figure("training", f"mAP, {labels} labels", reached, "", command, at_least=goal, detail=spread)
    if start:
        name = f"mAP, {labels} labels, against the starting model"
        yield figure("training", name, reached, "", command, baseline=start, at_least=1.0)
    stock = mean(bench.mmdet("stock", trained).mAP for trained in ours)
    yield figure(
        "training",
        f"mAP, {labels} labels, against mmdet's stock schedule",
        reached,
        "",
        f"{command}, against bench.mmdet_training stock for the same seconds",
        baseline=stock or None,
        at_least=1.0 if stock else None,
        detail="" if stock else "that one's is 0",
    )


class Bench:
    """A home without services, and the dataset's images in it."""

    def __init__(self, home: Path, options: Options) -> None:
        (home / "configs").symlink_to(REPO / "configs")
        self._dataset = options.dataset()
        self._settings = Settings(
            labelloop_home=home, threads=options.threads, accelerator="cpu", detector=DETECTOR
        )
        cache = self._settings.cache_dir / "weights"
        cache.mkdir(parents=True)
        for weights in (REPO / "volumes" / "cache" / "weights").glob("*.pth"):
            shutil.copy2(weights, cache / weights.name)
        self._models = Registry(self._settings.models_dir).project(PROJECT)
        card = self._models.card(write_starting_model(PROJECT, self._settings))
        if card.detector != DETECTOR:
            raise ValueError(f"the training section compares {DETECTOR}, not {card.detector}: {card.reason}")
        self.start = f"{card.detector}: {card.start_weights}"
        self._test = self._dataset.test_snapshot()

    def starting_mAP(self) -> float:
        return self._mAP(self._models.folder("v0000"))

    def round(self, labels: int, seed: int) -> Trained:
        """A first round on `labels` images that the seed draws; a fifth of them is held out."""
        snapshot = self._snapshot(labels, seed)
        folder = self._settings.rounds_dir / f"{labels}-{seed}"
        folder.mkdir(parents=True)
        snapshot.write(folder)
        write_job(folder, self._settings, PROJECT, snapshot)
        began = time.monotonic()
        with _environment(self._settings, {"OMP_WAIT_POLICY": "PASSIVE"}):  # as in docker-compose.yml
            train.run(folder, lambda metrics: None, lambda: False)
        seconds = time.monotonic() - began
        candidate = train.candidate_folder(folder)
        began = time.monotonic()
        for model in (candidate, self._models.folder("v0000")):
            evaluate(model, snapshot, self._settings, lambda fraction, words: None)
        scoring = time.monotonic() - began
        return Trained(folder, seconds, scoring, self._mAP(candidate), _waited(folder))

    def mmdet(self, kind: str, ours: Trained) -> Trained:
        """mmdet's own training on a round's images."""
        out = ours.folder / kind
        command = [
            sys.executable,
            "-m",
            "bench.mmdet_training",
            kind,
            str(ours.folder),
            str(out),
            str(ours.seconds),
        ]
        with _environment(self._settings, {}):
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=MMDET_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return Trained(ours.folder, json.loads(done.stdout.splitlines()[-1])["seconds"], 0.0, self._mAP(out))

    def _mAP(self, folder: Path) -> float:
        """Raises ValueError: a test image cannot be read."""
        found = evaluate(folder, self._test, self._settings, lambda fraction, words: None)
        if found.missing:
            raise ValueError(f"test images that cannot be read: {', '.join(found.missing)}")
        return found.mAP or 0.0

    def _snapshot(self, labels: int, seed: int) -> Snapshot:
        chosen = random.Random(seed).sample(self._dataset.train, labels)
        sides = Sides()
        sides.assign((image.sha256 for image in chosen), self._settings.holdout_percent)
        images = LabelledImages(
            image.in_snapshot(number, sides[image.sha256]) for number, image in enumerate(chosen, 1)
        )
        return Snapshot(PROJECT, self._dataset.label_config_xml, images, (), ())


def _waited(folder: Path) -> float:
    last = json.loads((folder / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    return float(last["waited"] / last["seconds"])


class _environment:
    """What the training processes read; own: what only ours has."""

    def __init__(self, settings: Settings, own: Mapping[str, str]) -> None:
        self._values = {
            **own,
            "LABELLOOP_HOME": str(settings.labelloop_home),
            "THREADS": str(settings.threads),
            "DETECTOR": settings.detector,
            "OMP_NUM_THREADS": str(settings.threads),
            "PYTHONPATH": os.pathsep.join(
                map(str, (REPO / "tests", REPO / "images" / "base", REPO / "images" / "trainer"))
            ),
        }

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(self._values)

    def __exit__(self, *error: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)
