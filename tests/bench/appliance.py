"""A provisioned Label Studio with a champion in name, to measure on it. No worker runs beside it."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import growth_rows
from bench.growth_operations import BROUGHT, PORTION, PROJECT, Measured
from bench.memory import children, peak_mb, processor_s
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import BACKEND_PASSWORD, REPO, LabelStudio
from integration.support.postgres import Postgres
from support import fake_backend, shapes, versions

from labelloop.registry import Registry

OPERATION_S = 7200.0
SETTLE_S = 4.0
FOLDER = 1000


@dataclass(frozen=True)
class Server:
    """The database's server: what Label Studio is told of it, and its first process; none of SQLite."""

    environment: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None

    @property
    def processor_s(self) -> float:
        """The processor's time that it has taken so far."""
        if self.pid is None:
            return 0.0
        return processor_s(self.pid, ended=True) + sum(map(processor_s, children(self.pid)))


@contextmanager
def databases(kind: str) -> Iterator[Callable[[str], Server]]:
    """What makes a new database by name; on SQLite every home has its own anyway."""
    if kind == "sqlite":
        yield lambda name: Server()
        return
    with Postgres() as postgres:
        postgres.migrate()
        yield lambda name: Server(postgres.copy_of_the_first(name), postgres.pid)


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

    def __init__(self, home: Path, size: int, server: Server | None = None) -> None:
        self.size = size
        self.server = server or Server()
        self.peak_mb = 0.0
        self.backend = FakeBackend(BACKEND_PASSWORD)
        self.champion = Champion()
        self.labelstudio = LabelStudio(home, self.backend.url)
        (home / "configs" / "labels" / "shapes.xml").write_text(shapes.LABEL_CONFIG)
        self.labelstudio.environment |= {"LABEL_CONFIG": "configs/labels/shapes.xml", "RETRAIN_EVERY": "0"}
        self.labelstudio.environment |= self.server.environment

    def measure(self, operations: Iterable[str], generated: bool = False) -> Iterator[tuple[str, Measured]]:
        """Operation by operation; Label Studio runs meanwhile. generated: on rows that are copies of one
        task's.
        """
        self.backend.start()
        with self.champion.serve() as self.champion.url:
            try:
                self.start()
                if generated:
                    self.generate()
                for name in operations:
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

    def generate(self) -> None:
        """Makes rows for `size` tasks, copies of those of one that was imported, pre-labelled and labelled.

        A fiftieth is labelled, and has files. The others' images are named alone, those too that operations
        label: of few rows more than a round allows to be missing.
        """
        self.labelstudio.environment["MISSING_PERCENT"] = "100"
        save_images(self.labelstudio.images, 0, 1)
        time.sleep(SETTLE_S)
        save_dataset(self.labelstudio.home / BROUGHT, range(1))
        for name in ("import", "prelabel", "intake"):
            self.operate(name)
        labelled = max(self.size // 50, 2)
        save_images(self.labelstudio.images, 1, labelled)
        self.labelstudio.run_program(growth_rows.program(self.size, labelled), timeout=OPERATION_S)
        time.sleep(SETTLE_S)
        self.operate("import")  # so that these files are no news to what is imported later

    def prepare(self, name: str) -> None:
        """What has to be there before an operation, and isn't part of it."""
        first, count = {
            "import": (0, self.size),
            "import-one": (self.size, 1),
            "import-more": (self.size, PORTION),
        }.get(name, (0, 0))
        if count:
            save_images(self.labelstudio.images, first, first + count)
            time.sleep(SETTLE_S)
        if name == "intake":
            save_dataset(self.labelstudio.home / BROUGHT, range(0, self.size, 2))
        elif name == "intake-more":
            save_dataset(self.labelstudio.home / BROUGHT, range(self.size, self.size + PORTION))

    def operate(self, name: str) -> dict[str, Measured]:
        """What one operation, in a process of its own, has measured, by name.

        Raises:
            RuntimeError: it failed; its last words are in the message.
        """
        worked = self._processor_s()
        folders = [REPO / "tests", *(REPO / "images" / package for package in ("base", "trainer"))]
        done = subprocess.run(
            [sys.executable, "-m", "bench.growth_operations", name.removesuffix("-more")],
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
        found = {name if len(rows) == 1 else page: Measured(**row) for page, row in rows.items()}
        return {
            name: replace(row, processor_s=row.processor_s + there / len(found) / row.rounds)
            for name, row in found.items()
        }

    def _processor_s(self) -> float:
        """The processor's time that Label Studio and its database's server have taken so far."""
        return sum(map(processor_s, self.labelstudio.pids)) + self.server.processor_s


def save_dataset(path: Path, numbers: Sequence[int]) -> None:
    """A dataset of COCO's form with a box on each of these pictures of `save_images`."""
    boxes = [
        {"id": number, "image_id": number, "category_id": number % 2, "bbox": [10, 5 + number % 60, 48, 48]}
        for number in numbers
    ]
    images = [{"id": number, "file_name": name_of(number), "width": 320, "height": 240} for number in numbers]
    categories = [{"id": index, "name": label} for index, label in enumerate(shapes.LABELS[:2])]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def name_of(number: int) -> str:
    return f"{number // FOLDER:03d}/{number:06d}.jpg"


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
        path = folder / name_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        jpeg, comment = drawn[number % len(drawn)], f"{number:06d}".encode()
        path.write_bytes(jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:])
