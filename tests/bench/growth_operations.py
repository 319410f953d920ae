"""One operation of the trainer on a real Label Studio, in a process whose peak memory is its own:

    python -m bench.growth_operations NAME

The appliance is that of the environment (LABELLOOP_HOME, LABELSTUDIO_URL, API_TOKEN, …). Prints what was
measured as JSON, by name. What one operation alone needs is imported by it: the others' memory is their own.
"""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.memory import peak_mb

from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings, get_settings
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer
from trainer.worker.prelabel import PAGE, Prelabeller

PROJECT = 1
BROUGHT = "brought.json"
"""The dataset whose labels are brought, below the home."""
PORTION = 1000
"""So many images and labels more, on rows that are there already."""
EVERY = {"version": "v9999", "alone": False, "among": None}
"""Wanted is a prediction for every unlabelled task."""
REPEATS, LOOKS = 5, 3


@dataclass(frozen=True)
class Measured:
    """peak_mb: of the process, its libraries included. count: what the operation handled. processor_s: the
    time of the processor that it took, here and in Label Studio; rounds: how often it was done.
    """

    seconds: float
    peak_mb: float
    count: int
    processor_s: float = 0.0
    rounds: int = 1


@dataclass(frozen=True)
class Context:
    settings: TrainerSettings
    studio: Studio

    @cached_property
    def unlabelled(self) -> Iterator[int]:
        """Tasks that nobody has labelled."""
        return iter([int(task["id"]) for task in next(self.studio.lacking(PROJECT, EVERY, PAGE))])

    @property
    def round_dir(self) -> Path:
        return self.settings.rounds_dir / "1"

    @property
    def backend(self) -> Backend:
        return Backend(self.settings.mlbackend_url, self.settings.secret("backend_password"))

    def index(self) -> ImageIndex:
        return ImageIndex(self.settings.rounds_dir, self.settings.images_dir)


def _import(context: Context) -> int:
    """As `make import` does: every new image is decoded."""
    index = context.index()
    importer = Importer(index, context.studio, context.settings.rounds_dir)
    return importer.run([PROJECT], wait_s=60, force=True, check=lambda: index.check(1.0))


def _look(context: Context) -> int:
    """What the worker does every IMPORT_EVERY seconds when nothing is new."""
    index = context.index()
    index.scan()
    return index.newest()


def _check(context: Context) -> int:
    index = context.index()
    while index.check(10.0):
        pass
    return len(index.problems())


def _prelabel(context: Context) -> int:
    """All of pre-labelling but the model: the backend in the environment answers at once."""
    prelabeller = Prelabeller(
        context.studio, context.backend, Registry(context.settings.models_dir), context.settings.rounds_dir
    )
    return prelabeller.run(fetch(context.studio, PROJECT))


def _unpredicted(context: Context) -> int:
    """The first page of what a new champion would have to pre-label: every unlabelled task."""
    return len(next(context.studio.lacking(PROJECT, EVERY, PAGE)))


def _lacking(context: Context) -> int:
    """How many tasks lack a prediction, when all have one."""
    version = Registry(context.settings.models_dir).project(PROJECT).champion()
    return context.studio.count_lacking(PROJECT, {"version": version, "alone": False, "among": None})


def _next_task(context: Context) -> int:
    return int(context.studio.request("GET", f"/api/projects/{PROJECT}/next")["id"])


def _submit(context: Context, task: int | None = None) -> int:
    """Label Studio keeps the task that it gave out for this person until it is submitted."""
    task = task or next(context.unlabelled)
    return int(context.studio.request("POST", f"/api/tasks/{task}/annotations/", json={"result": []})["task"])


def _intake(context: Context) -> int:
    """Labels brought as `make import DATASET=` brings them, reading and planning included; how many."""
    from typer.testing import CliRunner

    from trainer import cli

    before = context.studio.counts(PROJECT)[1]
    words = ["intake", str(context.settings.labelloop_home / BROUGHT), "--name", "brought", "--yes"]
    more = ["--project", str(PROJECT), "--images", str(context.settings.images_dir)]
    done = CliRunner().invoke(cli.app, [*words, *more], catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)
    return context.studio.counts(PROJECT)[1] - before


def _list(context: Context) -> int:
    """The first page of Label Studio's own list of tasks, as it shows that."""
    params = {"project": PROJECT, "page": 1, "page_size": 30}
    return len(context.studio.request("GET", "/api/tasks", params=params)["tasks"])


def _open(context: Context) -> int:
    return int(context.studio.task(next(context.unlabelled))["id"])


def _pages(context: Context) -> Iterator[tuple[str, Measured]]:
    """The dashboard's pages before an administrator who has logged in, one after the other."""
    from fastapi.testclient import TestClient
    from integration.support.labelstudio import EMAIL, PASSWORD
    from requests import codes
    from support.dashboard import log_in

    from trainer.dashboard.app import create_app
    from trainer.dashboard.loop import WatchedLoop

    app = create_app(WatchedLoop.connect(context.settings), "a secret")
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as browser:
        log_in(browser, PASSWORD, email=EMAIL)
        for name, path in PAGES.items():
            started, worked = time.perf_counter(), time.process_time()
            answer = browser.get(path)
            seconds, processor_s = time.perf_counter() - started, time.process_time() - worked
            if answer.status_code != codes.OK:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
            yield name, Measured(seconds, peak_mb(), len(answer.content), processor_s, LOOKS)


def _snapshot(context: Context) -> int:
    from trainer.dataset.snapshot import take

    return take(
        context.studio, PROJECT, context.settings, context.round_dir, lambda share, text: None
    ).labelled


def _status(context: Context) -> int:
    from trainer.health.status import gather

    return gather(context.settings, context.studio, context.backend).projects[0].labelled or 0


def _export(context: Context) -> int:
    from trainer.dataset.export import export
    from trainer.dataset.snapshot import Snapshot

    folder = context.settings.rounds_dir / "exports" / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    snapshot = Snapshot.load(context.round_dir)
    export(snapshot, "coco", folder, context.settings)
    return sum(1 for _ in (folder / "images").iterdir())


# In the order they run; those that only look are repeated and their median counts.
CHANGING: dict[str, Callable[[Context], int]] = {
    "import": _import,
    "import-one": _import,
    "check": _check,
    "prelabel": _prelabel,
    "intake": _intake,
    "snapshot": _snapshot,
    "export": _export,
}
LOOKING: dict[str, Callable[[Context], int]] = {
    "look": _look,
    "unpredicted": _unpredicted,
    "lacking": _lacking,
    "next-task": _next_task,
    "list": _list,
    "open": _open,
    "submit": _submit,
    "status": _status,
}


PAGES = {
    "page now": f"/?project={PROJECT}",
    "page rounds": f"/rounds?project={PROJECT}",
    "page model": f"/model?project={PROJECT}",
    "page effort": f"/effort?project={PROJECT}",
    "page data": f"/data?project={PROJECT}",
    "page label errors": f"/label-errors?project={PROJECT}",
    "page verify": f"/verify?project={PROJECT}",
    "page downloads": f"/downloads?project={PROJECT}",
}


def measure(name: str, context: Context) -> dict[str, Measured]:
    """What was measured, by name: an operation's, or each page's."""
    if name == "pages":
        return _measure_pages(context)
    operation = (CHANGING | LOOKING)[name]
    times, count = [], 0
    repeats = REPEATS if name in LOOKING else 1
    worked = time.process_time()
    for _ in range(repeats):
        started = time.perf_counter()
        count = operation(context)
        times.append(time.perf_counter() - started)
        if name == "next-task":
            _submit(context, count)
    worked = time.process_time() - worked
    return {name: Measured(statistics.median(times), peak_mb(), count, worked / repeats, repeats)}


def _measure_pages(context: Context) -> dict[str, Measured]:
    """The slowest of LOOKS looks at each page, the login before it left out; the first of all finds nothing
    kept.
    """
    slowest: dict[str, Measured] = {}
    for _ in range(LOOKS):
        for name, found in _pages(context):
            slowest[name] = max(slowest.get(name, found), found, key=lambda row: row.seconds)
    return slowest


def main() -> None:
    settings = get_settings()
    # Minutes may pass within one request at a hundred thousand tasks; that is what is measured.
    studio = Studio(settings.labelstudio_url, settings.secret("api_token"), timeout=(3.0, 600.0))
    found = measure(sys.argv[1], Context(settings, studio))
    print(json.dumps({name: vars(row) for name, row in found.items()}))


if __name__ == "__main__":
    main()
