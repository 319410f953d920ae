"""A loop past one machine, of real processes on 127.0.0.1: Label Studios on one database behind one address,
images in a bucket, ML backends behind one address, and a worker with its rounds (support.quick).
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from faults.disks import small_disk
from faults.loop import quick
from faults.parts import Part, descendants, stages_of
from integration.support.bucket_server import BucketServer
from integration.support.front import Front
from integration.support.labelstudio import BACKEND_PASSWORD, LabelStudio
from integration.support.postgres import Postgres
from support import shapes
from support.ports import free_port
from support.stack import wait_for

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Row, Studio, StudioError
from labelloop.task_images import image_name
from trainer.dataset.snapshot import Snapshot
from trainer.env import TrainerSettings
from trainer.health import health
from trainer.rounds.folder import SNAPSHOT
from trainer.rounds.table import Rounds, State

PROJECT = 1
BUCKET, PREFIX = "photos", "line-3"
KEYS = {"S3_ACCESS_KEY": "an-access-key", "S3_SECRET_KEY": "a-secret-key"}
HEALS_WITHIN_S = 300.0
STARTS_WITHIN_S = 400.0
IMAGES, LABELLED = 8, 4
DATABASES_DISK, TRAINERS_DISK = "400m", "64m"


class GrownLoop:
    """parts: by name. put: the keys of the images in the bucket."""

    def __init__(self, home: Path, database: str, replicas: int, backends: int) -> None:
        self.home = home
        self.parts: dict[str, Part] = {}
        self.disks: dict[str, Callable[[], Path]] = {}
        self.put: list[str] = []
        self._stack = ExitStack()
        self._database, self._replicas, self._backends = database, replicas, backends

    def __enter__(self) -> "GrownLoop":
        with self._stack:
            self._begin()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        enter = self._stack.enter_context
        self.bucket = BucketServer(self.home / "buckets")
        enter(self.bucket).stop()
        self._add("bucket", self.bucket.process)
        environment = self._label_studios_database()
        ports = [free_port() for _ in range(self._backends)]
        backends = enter(Front(ports, address=""))
        both = [LabelStudio(self.home, backends.url) for _ in range(self._replicas)]
        front = enter(Front([urlsplit(one.url).port or 0 for one in both]))
        images = {"IMAGES": f"s3://{BUCKET}/{PREFIX}", "S3_ENDPOINT": self.bucket.url, **KEYS}
        (self.home / "configs/labels/shapes.xml").write_text(shapes.LABEL_CONFIG)
        for one in both:
            one.environment |= environment | images | {"LABELSTUDIO_FRONT": "of the test"}
            one.environment |= {"LABEL_CONFIG": "configs/labels/shapes.xml", "RETRAIN_EVERY": "0"}
        self.settings = TrainerSettings(
            labelloop_home=self.home,
            labelstudio_url=front.url,
            mlbackend_url=backends.url,
            api_token=both[0].environment["API_TOKEN"],
            backend_password=BACKEND_PASSWORD,
            trainer_password="trainer",
            backends=self._backends,
            retrain_every=0,
            images=images["IMAGES"],
            s3_endpoint=self.bucket.url,
        )
        self.settings.rounds_dir.parent.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.disks["the trainer's disk"] = enter(small_disk(self.settings.rounds_dir, TRAINERS_DISK))
        self.settings.rounds_dir.mkdir(exist_ok=True)
        for _ in range(IMAGES):
            self.add_image()
        for number, port in enumerate(ports, start=1):
            self._add(f"backend {number}", lambda port=port: self._program("backend", port))
        for number, one in enumerate(both, start=1):
            self._add(f"label studio {number}", one.process)
        self._add("worker", lambda: self._program("worker", ports[0]))
        self.studio.wait(STARTS_WITHIN_S)
        done = both[0].provision(STARTS_WITHIN_S)
        assert done.returncode == 0, done.stderr[-3000:] + both[0].log[-3000:]

    def _label_studios_database(self) -> dict[str, str]:
        """Its environment for Label Studio; its tables are there."""
        if self._database != "postgres":
            return {}
        postgres = Postgres()
        self._stack.callback(shutil.rmtree, postgres.home.root, ignore_errors=True)
        if os.geteuid() == 0:
            disk = small_disk(postgres.home.volumes, DATABASES_DISK)
            self.disks["the database's disk"] = self._stack.enter_context(disk)
        self._stack.enter_context(postgres)
        postgres.migrate()
        postgres.stop()
        # As compose/postgres.yml has it: at SIGTERM it would wait until nobody is connected.
        self._add("database", postgres.process, signal.SIGINT)
        return postgres.environment

    def _add(
        self,
        name: str,
        launch: Callable[[], subprocess.Popen[bytes]],
        ends_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.parts[name] = Part(name, launch, ends_by)
        self._stack.callback(self.parts[name].stop)

    def _program(self, name: str, port: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "LABELLOOP_HOME": str(self.home),
            "LABELSTUDIO_URL": self.settings.labelstudio_url,
            "MLBACKEND_URL": self.settings.mlbackend_url,
            "MLBACKEND_BIND": f"127.0.0.1:{port}",
            "BACKENDS": str(self._backends),
            "API_TOKEN": self.settings.secret("api_token"),
            "BACKEND_PASSWORD": BACKEND_PASSWORD,
            "TRAINER_PASSWORD": "trainer",
            "RETRAIN_EVERY": "0",
            "IMPORT_EVERY": "0.5",
            "IMAGES": self.settings.images,
            "S3_ENDPOINT": self.bucket.url,
            "QUICK_SNAPSHOT": "real",
            **KEYS,
        }
        return quick(self.home, name, environment, own_session=True)

    @property
    def studio(self) -> Studio:
        return Studio(self.settings.labelstudio_url, self.settings.secret("api_token"), timeout=(3.0, 20.0))

    @property
    def rounds(self) -> Rounds:
        return Rounds(self.settings.rounds_dir)

    @property
    def models(self) -> ProjectModels:
        return Registry(self.settings.models_dir).project(PROJECT)

    @property
    def log(self) -> str:
        """The last words of all."""
        paths = self.home / "log.txt", self.home / "labelstudio.log"
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in paths if path.exists())

    def add_image(self) -> None:
        """A new picture in the bucket."""
        number = len(self.put)
        key = f"{PREFIX}/{number:04d}.png"
        made = self.home / "made.png"
        shapes.picture(number, (160, 120)).image.save(made)
        self.bucket.put(BUCKET, key, made.read_bytes())
        self.put.append(key)

    def stages(self) -> list[int]:
        """The processes of the round that runs."""
        worker = self.parts["worker"].pid
        return [pid for first in stages_of(worker) for pid in (first, *descendants(first))]

    def closes_its_round(self) -> None:
        wait_for(
            "the round to end", lambda: self.rounds.open_round(PROJECT) is None, HEALS_WITHIN_S, every=0.05
        )

    @contextmanager
    def holding(self, step: str) -> Iterator[None]:
        """Has the round stay where it does `step` of support.quick; it is there on entry."""
        at, hold = self.home / "at", self.home / "hold"
        at.unlink(missing_ok=True)
        hold.write_text(step)
        try:
            if self.rounds.open_round(PROJECT) is None:
                self.rounds.request(PROJECT, "test")
            wait_for(
                f"the loop to come to {step}",
                lambda: at.exists() and at.read_text() == step,
                HEALS_WITHIN_S,
                every=0.02,
            )
            yield
        finally:
            hold.unlink(missing_ok=True)

    def tasks(self) -> list[Row]:
        """All, with their annotations and predictions."""
        return list(self.studio.iter_tasks(PROJECT, fields="all", page_size=100))

    def predicted(self, task: Row) -> str:
        """The version with which a backend answers, as Label Studio asks."""
        body = {
            "tasks": [{"id": task["id"], "data": task["data"]}],
            "project": "1.1",
            "label_config": shapes.LABEL_CONFIG,
            "params": {},
        }
        auth = ("labelstudio", BACKEND_PASSWORD)
        answer = requests.post(f"{self.settings.mlbackend_url}/predict", json=body, auth=auth, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["results"][0]["model_version"])

    def trouble(self) -> str:
        """What keeps the loop from being well and at rest; empty when nothing does."""
        try:
            if problems := health.look(self.settings).problems:
                return "; ".join(problems)
            if (open_round := self.rounds.open_round(PROJECT)) is not None:
                return f"round {open_round} is open"
            champion, studio = self.models.champion() or "", self.studio
            if (count := studio.counts(PROJECT)[0]) != len(self.put):
                return f"{count} tasks of {len(self.put)} images"
            if lacking := studio.count_lacking(PROJECT, {"version": champion, "alone": False, "among": None}):
                return f"{lacking} tasks lack {champion}"
            if (shown := studio.project(PROJECT)["model_version"]) != champion:
                return f"{shown} is shown, the champion is {champion}"
            served = self.predicted(next(studio.all_tasks(PROJECT)))
            return "" if served == champion else f"{served} is served, the champion is {champion}"
        except (StudioError, requests.RequestException, OSError) as error:
            return f"{type(error).__name__}: {error}"

    def heal(self) -> float:
        """Waits until all is well and at rest, then looks at every invariant. Returns: its seconds."""
        began = time.monotonic()
        tasks: list[Row] = []
        while trouble := self.trouble() or self._unread(tasks):
            if time.monotonic() > began + HEALS_WITHIN_S:
                raise AssertionError(f"not healed in {HEALS_WITHIN_S:.0f} s: {trouble}\n{self.log}")
            time.sleep(0.2)
        took = time.monotonic() - began
        self.check(tasks)
        return took

    def _unread(self, tasks: list[Row]) -> str:
        """Why they can't be read, as from a Label Studio that has just come back; empty if they were."""
        try:
            tasks[:] = self.tasks()
        except StudioError as error:
            return f"StudioError: {error}"
        return ""

    def check(self, tasks: list[Row]) -> None:
        """Whole versions only, one a round; each image one task, predicted once by a version; no round
        without an end or a reason, and none that left out an image for want of a server.
        """
        for version in self.models.versions():
            self.models.check(version)
        ever = self.models.ever()
        written = Counter(self.models.card(version).round for version in ever)
        assert all(count == 1 for number, count in written.items() if number is not None), written
        names = sorted(image_name(task["data"]["image"]) for task in tasks)
        assert names == sorted(f"s3://{BUCKET}/{key}" for key in self.put)
        for task in tasks:
            versions = Counter(row["model_version"] for row in task["predictions"])
            assert not versions or max(versions.values()) == 1, (task["id"], versions)
        for round_ in self.rounds.history(PROJECT, 10_000):
            assert round_.closed, round_
            if round_.state is State.PROMOTED:
                assert self.models.card(round_.version or "").round == round_.id
            else:
                reason = round_.error or ""
                expected = ("SIGKILL" in reason, "disk is full" in reason, "No space left" in reason)
                assert round_.state is State.FAILED and any(expected), round_
            folder = self.rounds.folder(round_.id)
            if (folder / SNAPSHOT).exists():
                assert not (skipped := Snapshot.load(folder).skipped), (round_, skipped)


class Person:
    """Labels the first tasks again and again, in a thread. submitted: what was acknowledged, by its id."""

    def __init__(self, loop: GrownLoop) -> None:
        self.submitted: dict[int, tuple[int, Any]] = {}
        self.refused = 0
        self._loop = loop
        self._done = threading.Event()
        self._tasks = sorted(task["id"] for task in loop.studio.all_tasks(PROJECT))[:LABELLED]
        for _ in self._tasks:
            self._label()
        assert len(self.submitted) == LABELLED
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> "Person":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(120)

    def lost(self) -> list[int]:
        """Acknowledged annotations that are not there, or not as they were."""
        there = {
            row["id"]: (task["id"], [one["value"] for one in row["result"]])
            for task in self._loop.studio.annotated_tasks(PROJECT)
            for row in task["annotations"]
        }
        return [number for number, content in self.submitted.items() if there.get(number) != content]

    def _go_on(self) -> None:
        while not self._done.wait(1.5):
            with suppress(StudioError):  # not acknowledged: a person would try again
                self._label()
                continue
            self.refused += 1

    def _label(self) -> None:
        number = len(self.submitted)
        task = self._tasks[number % len(self._tasks)]
        result = shapes.picture(number % 30).annotation()
        made = self._loop.studio.request("POST", f"/api/tasks/{task}/annotations/", json={"result": result})
        self.submitted[made["id"]] = task, [row["value"] for row in made["result"]]
