"""A loop of real processes for faults: worker, its rounds and backend (support.quick), beside Label Studio in
the test's own process.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from faults.parts import stages_of
from support import shapes
from support.fake_studio import FakeStudio, Row
from support.ports import free_port
from support.stack import wait_for

from labelloop.registry import ProjectModels, Registry
from labelloop.settings import Settings
from trainer.env import TrainerSettings
from trainer.health import health
from trainer.rounds.table import Round, Rounds, State

PROJECT = 1
HEALS_WITHIN_S = 120.0
IMAGES = 6


def quick(
    home: Path, name: str, environment: Mapping[str, str], own_session: bool = False
) -> "subprocess.Popen[bytes]":
    """Starts a program of support.quick, which writes into `home`'s log."""
    with (home / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "support.quick", name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=own_session,
        )


class SlowStudio(FakeStudio):
    """slow_s: seconds of each answer. held: what waits, `import` or `pre-labelling`; reached: it does."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_s = 0.0
        self.held = ""
        self.reached = threading.Event()
        self.before_import = lambda rows: self._wait("pre-labelling")

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        time.sleep(self.slow_s)
        if path.endswith("/sync"):
            self._wait("import")
        return super().answer(method, path, query, body)

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + HEALS_WITHIN_S
        while self.held == name and time.monotonic() < deadline:
            self.reached.set()
            time.sleep(0.01)


class QuickLoop:
    """The programs by name, each restarted by the test as supervisord would."""

    def __init__(self, home: Path, studio: SlowStudio) -> None:
        self.home, self.studio = home, studio
        address = f"127.0.0.1:{free_port()}"
        self.settings = TrainerSettings(
            labelloop_home=home,
            labelstudio_url=studio.url,
            mlbackend_url=f"http://{address}",
            api_token="token",
            backend_password="backend",
            trainer_password="trainer",
            retrain_every=0,
        )
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "LABELLOOP_HOME": str(home),
            "LABELSTUDIO_URL": studio.url,
            "MLBACKEND_URL": f"http://{address}",
            "MLBACKEND_BIND": address,
            "API_TOKEN": "token",
            "BACKEND_PASSWORD": "backend",
            "TRAINER_PASSWORD": "trainer",
            "RETRAIN_EVERY": "0",
            "IMPORT_EVERY": "0.5",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.settings.images_dir.mkdir(parents=True, exist_ok=True)
        self.settings.uploads_dir.mkdir(parents=True, exist_ok=True)
        for _ in range(IMAGES):
            self.add_task(labelled=False)
        self.add_task(labelled=True)

    def add_task(self, labelled: bool) -> int:
        task = self.studio.add_task(PROJECT, int(labelled))
        shapes.picture(task % 4, (160, 120)).image.save(self.settings.images_dir / f"{task}.jpg")
        return task

    @property
    def rounds(self) -> Rounds:
        return Rounds(self.settings.rounds_dir)

    @property
    def models(self) -> ProjectModels:
        return Registry(self.settings.models_dir).project(PROJECT)

    @property
    def log(self) -> str:
        return (self.home / "log.txt").read_text(errors="replace") if (self.home / "log.txt").exists() else ""

    def start(self, *names: str) -> None:
        """Starts what does not run."""
        for name in names or ("backend", "worker"):
            running = self.processes.get(name)
            if running is None or running.poll() is not None:
                self.processes[name] = quick(self.home, name, self._environment)

    def send(self, name: str, number: signal.Signals) -> bool:
        """To a program, or to the `stages` of the round that runs; whether there was one."""
        pids = self.stages() if name == "stages" else [self.processes[name].pid]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(pids)

    def stages(self) -> list[int]:
        return stages_of(self.processes["worker"].pid)

    def end(self, name: str, number: signal.Signals) -> None:
        """Ends a program (or a round's process), and starts it again as supervisord (or the worker) does."""
        self.send(name, number)
        if name in self.processes:
            self.processes[name].wait(30)
            self.start(name)

    def stop(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def request_round(self) -> Round:
        return self.rounds.request(PROJECT, "test")[0]

    @contextmanager
    def holding(self, stage: str) -> Iterator[None]:
        """Has the loop stay where it does `stage`; on entry it is there, on exit it goes on."""
        (self.home / "at").unlink(missing_ok=True)
        if stage in ("import", "pre-labelling"):
            self.studio.reached.clear()
            self.studio.held = stage
            if stage == "import":
                task = len(self.studio.tasks) + 1
                shapes.picture(task % 4, (160, 120)).image.save(self.settings.images_dir / f"{task}.jpg")
                self.studio.files.append(f"{task}.jpg")
            else:
                self.add_task(labelled=False)
            reached: Callable[[], bool] = self.studio.reached.is_set
        else:
            (self.home / "hold").write_text(stage)
            self.request_round()
            reached = lambda: (self.home / "at").exists() and (self.home / "at").read_text() == stage  # noqa: E731
        wait_for(f"the loop to come to {stage}", reached, HEALS_WITHIN_S, every=0.02)
        try:
            yield
        finally:
            self.studio.held = ""
            (self.home / "hold").unlink(missing_ok=True)

    def predict(self) -> Row:
        """One task by the backend, as Label Studio asks."""
        body = {
            "tasks": [{"id": 1, "data": self.studio.tasks[1]["data"]}],
            "project": "1.1",
            "label_config": shapes.LABEL_CONFIG,
            "params": {},
        }
        answer = requests.post(
            f"{self.settings.mlbackend_url}/predict", json=body, auth=("labelstudio", "backend"), timeout=30
        )
        answer.raise_for_status()
        return dict(answer.json()["results"][0])

    def trouble(self, settings: Settings | None = None) -> str:
        """What keeps the loop from being well and at rest; empty when nothing does."""
        problems = health.look(settings or self.settings).problems
        if problems:
            return "; ".join(problems)
        if self.rounds.open_round(PROJECT) is not None:
            return f"round {self.rounds.open_round(PROJECT)} is open"
        champion = self.models.champion()
        with suppress(requests.RequestException):
            served = self.predict()["model_version"]
            if served != champion:
                return f"{served} is served, the champion is {champion}"
            lacking = [
                task["id"]
                for task in list(self.studio.tasks.values())
                if not task["total_annotations"] and champion not in self.studio.versions_of(task["id"])
            ]
            return f"tasks {lacking} lack {champion}" if lacking else ""
        return "the backend does not answer"

    def heal(self, seconds: float = HEALS_WITHIN_S) -> None:
        """As `make up`: starts what does not run, waits until all is well and at rest; then looks at every
        invariant."""
        self.start()
        deadline = time.monotonic() + seconds
        while trouble := self.trouble():
            if time.monotonic() > deadline:
                raise AssertionError(f"not healed in {seconds:.0f} s: {trouble}\n{self.log[-4000:]}")
            time.sleep(0.1)
        self.check()

    def check(self) -> None:
        """Whole versions only, at most one a round; a champion that can serve; no task predicted twice by a
        version; no label gone; no round lost or without a reason."""
        for version in self.models.versions():
            self.models.check(version)
        ever = self.models.ever()  # retention goes on meanwhile
        rounds = [self.models.card(version).round for version in ever]
        written = [number for number in rounds if number is not None]
        assert len(written) == len(set(written)), f"a round wrote two versions: {rounds}"
        for task in self.studio.tasks:
            versions = self.studio.versions_of(task)
            assert len(versions) == len(set(versions)), f"task {task} has {versions}"
        for round_ in self.rounds.history(PROJECT, 10_000):
            assert round_.closed
            if round_.state is State.PROMOTED:
                assert round_.version in ever, round_
                assert self.models.card(round_.version or "").round == round_.id
            elif round_.state is State.FAILED:
                assert round_.error, round_
