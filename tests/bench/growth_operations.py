"""One operation of the trainer on a real Label Studio, in a process whose peak memory is its own:

    python -m bench.growth_operations NAME

The appliance is that of the environment (LABELLOOP_HOME, LABELSTUDIO_URL, API_TOKEN, …). Prints seconds, peak
memory in MB and what came out, as JSON.
"""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.memory import peak_mb

from labelloop.registry import Registry
from labelloop.studio import UNLABELLED, Studio, without_prediction_of
from trainer.env import TrainerSettings, get_settings
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer
from trainer.worker.prelabel import PAGE, Prelabeller

PROJECT = 1
REPEATS = 5


@dataclass(frozen=True)
class Measured:
    """peak_mb: of the process, its libraries included. count: what the operation handled."""

    seconds: float
    peak_mb: float
    count: int


@dataclass(frozen=True)
class Context:
    settings: TrainerSettings
    studio: Studio

    @property
    def round_dir(self) -> Path:
        return self.settings.rounds_dir / "1"

    @property
    def backend(self) -> Backend:
        return Backend(self.settings.mlbackend_url, self.settings.secret("backend_password"))

    def index(self) -> ImageIndex:
        return ImageIndex(self.settings.rounds_dir, self.settings.images_dir)


def _import(context: Context) -> int:
    index = context.index()
    importer = Importer(index, context.studio, context.settings.rounds_dir)
    return importer.run([PROJECT], wait_s=60, force=True, check=lambda: index.check(3600.0))


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
    tasks = context.studio.iter_tasks(PROJECT, UNLABELLED, without_prediction_of("v9999"), page_size=PAGE)
    return len(list(islice(tasks, PAGE)))


def _next_task(context: Context) -> int:
    return int(context.studio.request("GET", f"/api/projects/{PROJECT}/next")["id"])


def _submit(context: Context, task: int) -> None:
    """Label Studio keeps the task that it gave out for this person until it is submitted."""
    context.studio.request("POST", f"/api/tasks/{task}/annotations/", json={"result": []})


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
    "snapshot": _snapshot,
    "export": _export,
}
LOOKING: dict[str, Callable[[Context], int]] = {
    "look": _look,
    "unpredicted": _unpredicted,
    "next-task": _next_task,
    "status": _status,
}


def measure(name: str, context: Context) -> Measured:
    operation = (CHANGING | LOOKING)[name]
    times, count = [], 0
    for _ in range(REPEATS if name in LOOKING else 1):
        started = time.perf_counter()
        count = operation(context)
        times.append(time.perf_counter() - started)
        if name == "next-task":
            _submit(context, count)
    return Measured(statistics.median(times), peak_mb(), count)


def main() -> None:
    settings = get_settings()
    # Minutes may pass within one request at a hundred thousand tasks; that is what is measured.
    studio = Studio(settings.labelstudio_url, settings.secret("api_token"), timeout=(3.0, 600.0))
    print(json.dumps(vars(measure(sys.argv[1], Context(settings, studio)))))


if __name__ == "__main__":
    main()
