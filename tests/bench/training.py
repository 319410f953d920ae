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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from bench.options import REPO, Options
from bench.report import Figure, figure

from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer import train
from trainer.evaluate import evaluate
from trainer.labelled import LabelledImages
from trainer.simulate.dataset import Dataset
from trainer.simulate.options import predicted_values
from trainer.snapshot import Snapshot
from trainer.split import Sides
from trainer.weights import write_starting_model

PROJECT = 1
ROUND_TARGET = 1.10
REFERENCE_LABELS = 40
MMDET_S = 1800


@dataclass(frozen=True)
class Trained:
    """seconds: from the start of the training process to the candidate. scoring: seconds, of both models on
    the hold-out. mAP: on the test images.
    """

    folder: Path
    seconds: float
    scoring: float
    mAP: float


def run(options: Options) -> Iterator[Figure]:
    """Time against mmdet's own training, then AP by labels over the seeds, beside the stock schedule's."""
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        bench = Bench(Path(scratch), options)
        start = bench.starting_mAP()
        yield figure("training", "mAP, 0 labels", start, "", "the starting model on test.json")
        reference = REFERENCE_LABELS if REFERENCE_LABELS in options.labels else options.labels[0]
        for labels in options.labels:
            ours = [bench.round(labels, seed) for seed in options.seeds]
            if labels == reference:
                bare = bench.mmdet("bare", ours[0])
                yield figure(
                    "training",
                    f"training and two evaluations, {labels} labels",
                    ours[0].seconds + ours[0].scoring,
                    "s",
                    "python -m trainer.train, against bench.mmdet_training bare and the same evaluations",
                    baseline=bare.seconds + ours[0].scoring,
                    at_most=ROUND_TARGET,
                )
            scores = [trained.mAP for trained in ours]
            seeds = ",".join(map(str, options.seeds))
            spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
            yield figure(
                "training",
                f"seconds, {labels} labels, mean of seeds {seeds}",
                mean(trained.seconds for trained in ours),
                "s",
                "python -m trainer.train",
            )
            yield figure(
                "training", f"mAP, {labels} labels{spread}", mean(scores), "", "python -m trainer.train"
            )
            stock = [bench.mmdet("stock", trained).mAP for trained in ours]
            yield figure(
                "training",
                f"mAP, {labels} labels, against mmdet's stock schedule",
                mean(scores),
                "",
                "python -m trainer.train, against bench.mmdet_training stock for the same seconds",
                baseline=max(mean(stock), 1e-3),
            )


class Bench:
    """A home without services, and the dataset's images in it."""

    def __init__(self, home: Path, options: Options) -> None:
        (home / "configs").symlink_to(REPO / "configs")
        self._dataset = Dataset.load(
            options.coco_dir().resolve(), predicted_values(list(filter(None, options.predicted.split(":"))))
        )
        self._settings = Settings(
            labelloop_home=home, threads=options.threads, accelerator="cpu", detector="yolox_nano"
        )
        cache = self._settings.cache_dir / "weights"
        cache.mkdir(parents=True)
        for weights in (REPO / "volumes" / "cache" / "weights").glob("*.pth"):
            shutil.copy2(weights, cache / weights.name)
        self._models = Registry(self._settings.models_dir).project(PROJECT)
        write_starting_model(PROJECT, self._settings)
        self._test = self._dataset.test_snapshot()

    def starting_mAP(self) -> float:
        return self._mAP(self._models.folder("v0000"))

    def round(self, labels: int, seed: int) -> Trained:
        """A first round on `labels` images that the seed draws; a fifth of them is held out."""
        snapshot = self._snapshot(labels, seed)
        folder = self._settings.rounds_dir / f"{labels}-{seed}"
        folder.mkdir(parents=True)
        snapshot.write(folder)
        train.write_job(folder, self._settings, PROJECT, snapshot)
        began = time.monotonic()
        with _environment(self._settings):
            train.run(folder, lambda metrics: None, lambda: False)
        seconds = time.monotonic() - began
        candidate = train.candidate_folder(folder)
        began = time.monotonic()
        for model in (candidate, self._models.folder("v0000")):
            evaluate(model, snapshot, self._settings, lambda fraction, words: None)
        return Trained(folder, seconds, time.monotonic() - began, self._mAP(candidate))

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
        with _environment(self._settings):
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=MMDET_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return Trained(ours.folder, json.loads(done.stdout.splitlines()[-1])["seconds"], 0.0, self._mAP(out))

    def _mAP(self, folder: Path) -> float:
        return evaluate(folder, self._test, self._settings, lambda fraction, words: None).mAP or 0.0

    def _snapshot(self, labels: int, seed: int) -> Snapshot:
        if labels > len(self._dataset.train):
            raise ValueError(
                f"LABELS={labels}: {self._dataset.folder} has {len(self._dataset.train)} images to train on"
            )
        chosen = random.Random(seed).sample(self._dataset.train, labels)
        sides = Sides()
        sides.assign((image.sha256 for image in chosen), self._settings.holdout_percent)
        images = LabelledImages(
            image.in_snapshot(number, sides[image.sha256]) for number, image in enumerate(chosen, 1)
        )
        return Snapshot(PROJECT, self._dataset.label_config_xml, images, (), ())


class _environment:
    """What the training processes read."""

    def __init__(self, settings: Settings) -> None:
        self._values: Mapping[str, str] = {
            "LABELLOOP_HOME": str(settings.labelloop_home),
            "THREADS": str(settings.threads),
            "DETECTOR": settings.detector,
            "OMP_NUM_THREADS": str(settings.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
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
