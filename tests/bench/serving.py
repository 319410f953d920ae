"""Pre-labels: one task over HTTP, and a project's worth from the request to Label Studio's database.

Against mmdet by itself, `inference_detector` in a loop, and against what labelloop replaces: `label-studio
start` with label-studio-ml's stock server. Same images, detector, weights and number of threads, all of whose
other settings are each party's own; everything on the host runtime, so that no party runs in a container. Of
each party's bulk runs the best counts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import requests
from bench.memory import peak_mb
from bench.options import REPO, Options
from bench.report import Figure, figure
from bench.startup import throw_away_stack
from bench.stock import StockSetUp, delete_predictions
from support.stack import Stack, wait_for
from support.unpredicted import without_prediction_of

from labelloop.boxes import Boxes
from labelloop.connection import USER
from labelloop.detector import Detector, load_weights
from labelloop.images import SUFFIXES, ImageError, Pixels, check_image, read_image
from labelloop.locks import Busy, holding
from labelloop.registry import Registry
from labelloop.studio import Studio
from labelloop.task_filters import UNLABELLED
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.training.gap import VISIBLE
from trainer.training.graphs import apart
from trainer.worker.prelabel import Prelabeller, lock_path

TASKS = 200
BULK_RUNS = 2
SINGLES = 100
QUIET = 1000
SWAPS = 6
SWAP_S = 60
# The backend frees the model that has left between one and two of its POLL_S, of 1 s, after the swap.
AFTER_S = 2.2
VERSION = "v0000"
PROJECT = 1


def run(options: Options) -> Iterator[Figure]:
    """One task, bulk, memory, agreement, and requests while the model is swapped."""
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        appliance = Appliance(Path(scratch) / "appliance", options)
        try:
            bare = appliance.bare()
            yield from _agreement(appliance)
            yield from _single(appliance, bare)
            rate = 1000 * len(bare["ms"]) / sum(bare["ms"])
            ours = appliance.bulk()
            yield from _swap(appliance)
            yield from _memory(appliance, bare)
            images, version = list(appliance.images), appliance.version_copy(Path(scratch) / "version")
        finally:
            appliance.stack.run("down", check=False, timeout=180)
        yield figure(
            "serving",
            f"{TASKS} tasks pre-labelled and stored, against bare inference alone",
            ours,
            "images/s",
            "trainer.worker.prelabel.Prelabeller.run, against python -m bench.bare",
            baseline=rate,
            at_least=4.0,
        )
        with StockSetUp(Path(scratch) / "stock", version, images, options.threads) as stock:
            theirs = stock.bulk(BULK_RUNS)
        yield figure(
            "serving",
            f"{TASKS} tasks pre-labelled and stored, against the stock set-up",
            ours,
            "images/s",
            f"trainer.worker.prelabel.Prelabeller.run, against {StockSetUp.COMMAND}",
            baseline=theirs,
            at_least=5.0,
        )


class Appliance:
    """A throw-away stack on the host runtime with `TASKS` tasks, all pre-labelled by the starting model."""

    def __init__(self, home: Path, options: Options) -> None:
        self.threads = options.threads
        sources = [file for file in sorted((options.coco_dir() / "images").iterdir()) if is_image(file)]
        if not sources:
            raise ValueError(f"{options.coco_dir() / 'images'} has no image in it")
        self.stack: Stack = throw_away_stack(home, "host")
        folder = self.stack.images / "bench"
        folder.mkdir(parents=True)
        for number, source in enumerate(islice(cycle(sources), TASKS)):
            shutil.copyfile(source, folder / f"{number:04d}{source.suffix}")
        self.images = sorted(folder.iterdir())
        self.stack.run("up", PORT=self.stack.port, THREADS=options.threads, RETRAIN_EVERY=0)
        self.env = self.stack.env()
        self.studio: Studio = self.stack.studio()
        self.backend = Backend(f"http://127.0.0.1:{self.env['MLBACKEND_PORT']}", self.env["BACKEND_PASSWORD"])
        self._project = fetch(self.studio, PROJECT)
        self._http = requests.Session()
        self._http.auth = (USER, self.env["BACKEND_PASSWORD"])
        self._http.trust_env = False
        self.registry = Registry(home / "volumes" / "models")
        self.rounds = home / "volumes" / "rounds"
        wait_for("all tasks to be pre-labelled", self._all_predicted, 600)

    def _all_predicted(self) -> bool:
        return self.studio.count_tasks(PROJECT) == TASKS and not self.studio.count_tasks(
            PROJECT, UNLABELLED, without_prediction_of(VERSION)
        )

    @property
    def version(self) -> Path:
        return self.registry.project(PROJECT).folder(VERSION)

    def version_copy(self, folder: Path) -> Path:
        """The starting model, for after the stack is gone."""
        return Path(shutil.copytree(self.version, folder))

    def bare(self) -> dict[str, Any]:
        """What mmdet by itself does with the images."""
        command = [sys.executable, "-m", "bench.bare", str(self.version), str(self.threads)]
        done = subprocess.run(
            [*command, *map(str, self.images)],
            check=True,
            capture_output=True,
            text=True,
            env=environment(self.threads),
            timeout=600,
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def bulk(self) -> float:
        """Images a second from nothing predicted to everything stored, in the best run."""
        prelabeller = Prelabeller(self.studio, self.backend, self.registry, self.rounds)
        rates: list[float] = []
        while len(rates) < BULK_RUNS:
            delete_predictions(self.studio, PROJECT, VERSION)
            began = time.monotonic()
            try:
                stored = prelabeller.run(self._project)
            except Busy:  # the worker was quicker
                wait_for("the worker to pre-label", self._all_predicted, 300)
                continue
            if stored == TASKS:
                rates.append(TASKS / (time.monotonic() - began))
        return max(rates)

    def predict(self, image: Path) -> float:
        """Milliseconds of one task over HTTP."""
        task = {"id": 1, "data": {"image": f"/data/local-files/?d=images/bench/{image.name}"}}
        began = time.perf_counter()
        response = self._http.post(
            f"{self.backend.url}/predict",
            json={
                "tasks": [task],
                "project": "1.1",
                "label_config": self._project.label_config,
                "params": {},
            },
            timeout=60,
        )
        took = 1000 * (time.perf_counter() - began)
        response.raise_for_status()
        if "error" in response.json()["results"][0]:
            raise RuntimeError(f"{image.name}: {response.json()['results'][0]['error']}")
        return took

    def backend_peak_mb(self) -> float:
        """Of gunicorn's processes together."""
        master = subprocess.run(
            [
                ".venv/ml/bin/supervisorctl",
                "--configuration",
                "volumes/run/supervisord.conf",
                "pid",
                "mlbackend",
            ],
            cwd=self.stack.home,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return sum(peak_mb(pid) for pid in [master, *workers])

    def serve(self, version: str) -> None:
        """Moves the champion pointer."""
        self.registry.project(PROJECT).promote(version)

    def served(self) -> str | None:
        return self.backend.version(PROJECT)


def environment(threads: int) -> dict[str, str]:
    """For a process that is compared with the appliance's."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (REPO / "tests", REPO / "images" / "base"))),
        "OMP_NUM_THREADS": str(threads),
    }


def is_image(file: Path) -> bool:
    """Whether a file is an image that can be read. One that cannot is named."""
    if not file.is_file() or file.suffix.lower() not in SUFFIXES:
        return False
    try:
        check_image(file)
    except ImageError as error:
        print(f"left out: {error}", flush=True)
        return False
    return True


def _agreement(appliance: Appliance) -> Iterator[Figure]:
    """The boxes that are served against those of mmdet's `inference_detector`, image by image."""
    files = appliance.images[:SINGLES]
    pixels = [read_image(file) for file in files]
    results = _inference_detector(appliance.version, files)
    expected = [_boxes(found, image) for found, image in zip(results, pixels, strict=True)]
    if not any((boxes.scores >= VISIBLE).any() for boxes in expected):
        raise RuntimeError(
            f"the starting model finds nothing on {SINGLES} images, nothing to compare: put the "
            "detector's weights into volumes/cache/weights/ (`make status` names the file)"
        )
    served = Detector.load(appliance.version, "cpu").predict(pixels)
    gaps = [apart(theirs, ours) for theirs, ours in zip(expected, served, strict=True)]
    command = f"Detector.predict, against mmdet.apis.inference_detector, {len(gaps)} images"
    worst_px, worst_score = (max(gap[column] for gap in gaps) for column in (0, 1))
    yield figure("serving", "boxes apart from mmdet's", worst_px, "px", command, at_most=1.0)
    yield figure("serving", "scores apart from mmdet's", worst_score, "", command, at_most=0.01)


def _inference_detector(version: Path, files: list[Path]) -> list[Any]:
    """What mmdet's documentation does; a list of a (n, 5) array for each class, for each image."""
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(str(version / "config.py"), device="cpu")
    model.load_state_dict(load_weights(version / "weights.pth"))
    return [inference_detector(model, str(file)) for file in files]


def _boxes(per_class: list[Any], image: Pixels) -> Boxes:
    """Clipped to the image, as those that are served."""
    rows = np.concatenate(per_class)
    labels = np.repeat(np.arange(len(per_class)), [len(rows) for rows in per_class])
    return Boxes.of(rows[:, :4], rows[:, 4], labels).clip(image.shape[1], image.shape[0])


def _single(appliance: Appliance, bare: dict[str, Any]) -> Iterator[Figure]:
    for image in appliance.images[:10]:
        appliance.predict(image)
    took = [appliance.predict(image) for image in appliance.images[:SINGLES]]
    yield figure(
        "serving",
        "one task over HTTP, p50",
        median(took),
        "ms",
        "POST /predict, against python -m bench.bare",
        baseline=median(bare["ms"]),
        at_most=1.15,
    )


def _memory(appliance: Appliance, bare: dict[str, Any]) -> Iterator[Figure]:
    yield figure(
        "serving",
        "backend, peak memory",
        appliance.backend_peak_mb(),
        "MB",
        "VmHWM, against python -m bench.bare",
        baseline=bare["peak_mb"],
        at_most=1.5,
    )


def _swap(appliance: Appliance) -> Iterator[Figure]:
    """Requests one after the other while the champion moves between two versions, and for AFTER_S more: the
    model that has left is freed then. Nothing is pre-labelled meanwhile.
    """
    images = cycle(appliance.images)
    quiet = [appliance.predict(image) for image in islice(images, QUIET)]
    models = appliance.registry.project(PROJECT)
    card = models.card(VERSION)
    other = models.write(
        card, (appliance.version / "config.py").read_text(), appliance.version / "weights.pth"
    )
    during: list[float] = []
    with holding(lock_path(appliance.rounds, PROJECT), wait_s=300):
        for version in islice(cycle((other, VERSION)), SWAPS):
            during += _requests_during_swap(appliance, version, images)
    yield figure(
        "serving",
        f"slowest request during {SWAPS} model swaps",
        max(during),
        "ms",
        f"POST /predict, against p99 of {len(quiet)} without a swap",
        baseline=quantiles(quiet, n=100)[-1],
        at_most=1.5,
        detail=f"of {len(during)}; of {len(quiet)} without a swap {max(quiet):.0f} ms",
    )


def _requests_during_swap(appliance: Appliance, version: str, images: Iterator[Path]) -> list[float]:
    """Milliseconds of each, from before `version` is the champion until AFTER_S after it serves."""
    took: list[float] = []
    appliance.serve(version)
    deadline = time.monotonic() + SWAP_S
    while appliance.served() != version:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the backend did not serve {version} within {SWAP_S} s")
        took += [appliance.predict(image) for image in islice(images, 5)]
    end = time.monotonic() + AFTER_S
    while time.monotonic() < end:
        took.append(appliance.predict(next(images)))
    return took
