"""Time and memory of the trainer's work against the number of tasks, on a real Label Studio."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.growth_operations import PAGES, PROJECT, Measured
from bench.memory import peak_mb, processor_s
from bench.options import Options
from bench.report import Figure, figure, slope
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import BACKEND_PASSWORD, REPO, LabelStudio
from support import fake_backend, shapes, versions

from labelloop.registry import Registry

OPERATION_S = 7200.0
SETTLE_S = 4.0
FOLDER = 1000
TIME_TARGET, MEMORY_TARGET = 1.1, 1.5
# Tasks a second, by what a second of processor gives; and the seconds that anybody may wait.
RATE_TARGET, WAIT_TARGET_S = 1000.0, 2.0
# Operation → what it does.
OPERATIONS = {
    "import": "import of all images",
    "look": "look for new images, none there",
    "import-one": "import of one more image",
    "check": "decoding every image once",
    "prelabel": "pre-labelling without the model",
    "intake": "labels brought for half of them",
    "unpredicted": "ordering: tasks to pre-label",
    "next-task": "ordering: Label Studio's next task",
    "snapshot": "snapshot",
    "status": "status",
    "pages": "the dashboard's pages",
    "export": "export as COCO, of a snapshot",
}
RATES = ("import", "prelabel", "intake")
WAITS = ("next-task", "status", *PAGES)
Found = dict[str, dict[int, Measured]]
"""What was measured, by operation or page, and by the number of tasks."""


def run(options: Options) -> Iterator[Figure]:
    """Every operation at every count, then slopes and memory over all counts."""
    measured: Found = {}
    command = f"make bench ONLY=growth SIZES={','.join(map(str, sorted(options.sizes)))}"
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory(prefix="labelloop-growth-") as home:
            appliance = Appliance(Path(home), size)
            for name, result in appliance.measure():
                measured.setdefault(name, {})[size] = result
                yield from told(name, size, result, command)
            label_studios = f"Label Studio's processes, {size} tasks: peak memory"
            yield figure("growth", label_studios, appliance.peak_mb, "MB", command)
    yield from summary(measured, command)


def title_of(name: str) -> str:
    return OPERATIONS.get(name, name)


def told(name: str, size: int, result: Measured, command: str) -> Iterator[Figure]:
    """The figures of one operation with so many tasks."""
    title = f"{title_of(name)}, {size} tasks"
    most = WAIT_TARGET_S if name in WAITS else None
    yield figure("growth", title, result.seconds, "s", command, at_most=most)
    if name in RATES:
        rate = result.count / result.processor_s
        yield figure(
            "growth", f"{title}: for a second of processor", rate, "tasks", command, at_least=RATE_TARGET
        )


def summary(measured: Found, command: str) -> Iterator[Figure]:
    """Per operation the log-log slopes of its time and of the processor's, and its memory with the most tasks
    against the fewest.
    """
    for name, by_size in measured.items():
        title = title_of(name)
        for what, values in (
            ("time", [result.seconds for result in by_size.values()]),
            ("processor", [result.processor_s for result in by_size.values()]),
        ):
            grows = slope(list(by_size), values)
            yield figure("growth", f"{title}: {what}", grows, "slope", command, at_most=TIME_TARGET)
        yield figure(
            "growth",
            f"{title}: memory",
            by_size[max(by_size)].peak_mb,
            "MB",
            command,
            baseline=by_size[min(by_size)].peak_mb,
            at_most=MEMORY_TARGET,
        )


class Champion(fake_backend.FakeBackend):
    """Answers at once: one to five boxes and a score, which the task's number decides."""

    def _result(self, task: int) -> dict[str, Any]:
        boxes = [
            {
                "from_name": "label",
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": 320,
                "original_height": 240,
                "score": 0.5,
                "value": {
                    "x": 3.0 + 18 * place,
                    "y": 5.0 + task % 60,
                    "width": 15.0,
                    "height": 20.0,
                    "rotation": 0,
                    "rectanglelabels": [shapes.LABELS[(task + place) % 2]],
                },
            }
            for place in range(1 + task % 5)
        ]
        return {"result": boxes, "score": task * 7919 % 1000 / 1000, "model_version": self.version}


class Appliance:
    """A provisioned Label Studio with a champion in name, and no worker: its work is what is measured."""

    def __init__(self, home: Path, size: int) -> None:
        self.size = size
        self.peak_mb = 0.0
        self.backend = FakeBackend(BACKEND_PASSWORD)
        self.champion = Champion()
        self.labelstudio = LabelStudio(home, self.backend.url)
        (home / "configs" / "labels" / "shapes.xml").write_text(shapes.LABEL_CONFIG)
        self.labelstudio.environment |= {"LABEL_CONFIG": "configs/labels/shapes.xml", "RETRAIN_EVERY": "0"}

    def measure(self) -> Iterator[tuple[str, Measured]]:
        """Operation by operation; Label Studio runs meanwhile."""
        self.backend.start()
        with self.champion.serve() as self.champion.url:
            try:
                self.start()
                for name in OPERATIONS:
                    self.prepare(name)
                    yield from self.operate(name).items()
                self.peak_mb = sum(map(peak_mb, self.labelstudio.pids))
            finally:
                self.stop()

    def start(self) -> None:
        self.labelstudio.start()
        done = self.labelstudio.provision()
        if done.returncode:
            raise RuntimeError(f"the provisioner ended with {done.returncode}:\n{done.stderr[-3000:]}")
        models = Registry(self.labelstudio.home / "volumes" / "models").project(PROJECT)
        self.champion.version = versions.add_version(models, self.labelstudio.home / "made")
        models.promote(self.champion.version)

    def stop(self) -> None:
        self.labelstudio.stop()
        self.backend.stop()

    def prepare(self, name: str) -> None:
        """What has to be there before an operation, and isn't part of it."""
        if name == "import":
            save_images(self.labelstudio.images, 0, self.size)
            time.sleep(SETTLE_S)
        elif name == "import-one":
            save_images(self.labelstudio.images, self.size, self.size + 1)
            time.sleep(SETTLE_S)

    def operate(self, name: str) -> dict[str, Measured]:
        """What one operation, in a process of its own, has measured, by name.

        Raises:
            RuntimeError: it failed; its last words are in the message.
        """
        worked = self._processor_s()
        folders = [REPO / "tests", *(REPO / "images" / package for package in ("base", "trainer"))]
        done = subprocess.run(
            [sys.executable, "-m", "bench.growth_operations", name],
            env={
                **self.labelstudio.environment,
                "PYTHONPATH": os.pathsep.join(map(str, folders)),
                "MLBACKEND_URL": self.champion.url,
            },
            capture_output=True,
            text=True,
            timeout=OPERATION_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"{name} with {self.size} tasks ended with {done.returncode}:\n{done.stderr[-3000:]}"
            )
        rows = json.loads(done.stdout.splitlines()[-1])
        there = self._processor_s() - worked
        found = {name: Measured(**row) for name, row in rows.items()}
        return {
            name: replace(row, processor_s=row.processor_s + there / len(found) / row.rounds)
            for name, row in found.items()
        }

    def _processor_s(self) -> float:
        """The processor's time that Label Studio's processes have taken so far."""
        return sum(map(processor_s, self.labelstudio.pids))


def save_images(folder: Path, start: int, stop: int) -> None:
    """Small pictures, a thousand a folder.

    A comment in each makes its bytes its own: links to one file would be one image to the snapshot.
    """
    drawn = []
    for seed in range(16):
        buffer = io.BytesIO()
        shapes.picture(seed).image.save(buffer, "JPEG", quality=40)
        drawn.append(buffer.getvalue())
    for number in range(start, stop):
        path = folder / f"{number // FOLDER:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        jpeg, comment = drawn[number % len(drawn)], f"{number:06d}".encode()
        path.write_bytes(jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:])
