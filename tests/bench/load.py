"""Load that no usual day brings: requests during a round and a promotion, people at once, many tasks."""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import requests
from bench import growth
from bench.appliance import Appliance, databases
from bench.memory import peak_mb, resident_mb
from bench.options import Options
from bench.report import Figure, figure
from bench.startup import throw_away_stack
from integration.support.labelstudio import BACKEND_PASSWORD
from support import shapes, shapes_stack, versions
from support.stack import MAKE_S, Stack, wait_for

from labelloop.connection import USER
from labelloop.errors import Explained
from labelloop.registry import Registry
from labelloop.studio import Studio, StudioError
from trainer.peers.backend import Backend
from trainer.peers.projects import fetch
from trainer.worker.prelabel import Prelabeller

PROJECT = 1
IMAGES = 60
LABELLED = 30
TASKS_OF_LABELLERS = 400
REQUEST_S = 60.0
GROWTH_TARGET = 1.2
# Label Studio's patience with /health.
HEALTH_TARGET_S = 1.0
PAGE_TARGET_S = 1.0


def run(options: Options) -> Iterator[Figure]:
    """Prediction requests, labellers, and TASKS tasks."""
    with tempfile.TemporaryDirectory(prefix="labelloop-load-") as scratch:
        yield from predictions(Path(scratch) / "appliance", options)
    with tempfile.TemporaryDirectory(prefix="labelloop-load-") as scratch:
        yield from labellers(Path(scratch), options)
    if options.tasks:
        yield from growth.run(options.model_copy(update={"sizes": (options.tasks // 4, options.tasks)}))


@dataclass
class Tally:
    """What many threads saw. took: seconds of the requests that went well."""

    took: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)


def at_once(workers: int, seconds: float, work: Callable[[int, int], None], tally: Tally) -> None:
    """work(worker, number) again and again in `workers` threads for `seconds`; exceptions are tallied."""
    until = time.monotonic() + seconds

    def repeat(worker: int) -> None:
        for number in count():
            if time.monotonic() > until:
                return
            began = time.monotonic()
            try:
                work(worker, number)
            except (requests.RequestException, StudioError, KeyError, AssertionError) as error:
                tally.failures[f"{type(error).__name__}: {error}"[:300]] += 1
            else:
                tally.took.append(time.monotonic() - began)

    threads = [threading.Thread(target=repeat, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 2 * REQUEST_S)


def predictions(home: Path, options: Options) -> Iterator[Figure]:
    """`clients` requests at once for `seconds`, while a round trains and a promotion happens."""
    os.environ["RUNTIME"] = "host"
    stack = throw_away_stack(home)
    pictures = shapes.save(stack.images, IMAGES)
    try:
        # Few iterations, so that a round and its promotion come within the time.
        shapes_stack.up(stack, 60, timeout=MAKE_S, THREADS=options.threads, RETRAIN_EVERY=0)
        wait_for("the import", lambda: stack.studio().count_tasks(PROJECT) == IMAGES, 120)
        _label(stack.studio(), pictures)
        yield from _during_a_round(stack, sorted(pictures), options)
    finally:
        stack.run("down", check=False, timeout=180)


def _label(studio: Studio, pictures: dict[str, shapes.Picture]) -> None:
    for task in list(studio.iter_tasks(PROJECT))[:LABELLED]:
        result = pictures[task["data"]["image"].rsplit("/", 1)[1]].annotation()
        studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})


def _during_a_round(stack: Stack, names: list[str], options: Options) -> Iterator[Figure]:
    url = f"http://127.0.0.1:{stack.env()['MLBACKEND_PORT']}/predict"
    sessions = [requests.Session() for _ in range(options.clients)]
    for session in sessions:
        session.auth, session.trust_env = (USER, stack.env()["BACKEND_PASSWORD"]), False
    tally, memory = Tally(), Memory(stack.pids("mlbackend"))

    def ask(worker: int, number: int) -> None:
        name = names[(worker * 7 + number) % len(names)]
        body = {
            "tasks": [{"id": 1, "data": {"image": f"/data/local-files/?d=images/{name}"}}],
            "project": f"{PROJECT}.1",
            "label_config": shapes.LABEL_CONFIG,
            "params": {},
        }
        answer = sessions[worker].post(url, json=body, timeout=REQUEST_S)
        answer.raise_for_status()
        [result] = answer.json()["results"]
        assert "error" not in result, result["error"]
        tally.versions[result["model_version"]] += 1

    [backend] = stack.studio().backends(PROJECT)
    stack.studio().request("POST", f"/api/ml/{backend['id']}/train", json={})
    health = Tally()

    def look(worker: int, number: int) -> None:
        requests.get(url.replace("/predict", "/health"), timeout=REQUEST_S).raise_for_status()
        time.sleep(0.5)

    watch = threading.Thread(target=at_once, args=(1, options.seconds, look, health))
    watch.start()
    with memory, Promotion(stack, options.seconds / 2) as promotion:
        at_once(options.clients, options.seconds, ask, tally)
    watch.join()
    command = f"POST /predict, {options.clients} at once for {options.seconds} s; {promotion.how}"
    for failure, times in tally.failures.items():
        print(f"  {times} × {failure}")
    percentiles = quantiles(tally.took, n=100)
    total = len(tally.took) + sum(tally.failures.values())
    for name, value, unit, most in (
        ("failed requests", sum(tally.failures.values()), f"of {total}", 0),
        ("p50", percentiles[49], "s", None),
        ("p99", percentiles[98], "s", None),
        ("slowest", max(tally.took), "s", None),
        ("slowest /health meanwhile", max(health.took) - 0.5, "s", HEALTH_TARGET_S),
        ("failed looks at /health", sum(health.failures.values()), "", 0),
        ("backend, peak memory", memory.peak, "MB", None),
    ):
        yield figure("load", f"predictions: {name}", value, unit, command, at_most=most)
    yield figure("load", "predictions: versions that answered", len(tally.versions), "", command, at_least=2)
    yield figure(
        "load",
        "predictions: memory, last quarter against second",
        memory.quarter(3),
        "MB",
        command,
        baseline=memory.quarter(1),
        at_most=GROWTH_TARGET,
    )


class Memory:
    """Resident memory of some processes, once a second while the context lasts."""

    def __init__(self, pids: list[int]) -> None:
        self._pids, self._samples, self._done = pids, list[float](), threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak = 0.0

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(peak_mb(pid) for pid in self._pids)

    def quarter(self, number: int) -> float:
        """The median in MB of that quarter (0 to 3) of the time, of the largest process."""
        length = max(len(self._samples) // 4, 1)
        return median(self._samples[number * length : (number + 1) * length])

    def _sample(self) -> None:
        while not self._done.wait(1.0):
            self._samples.append(max(resident_mb(pid) for pid in self._pids))


class Promotion:
    """Sees to a promotion: the round's own, or, with none after `patience_s`, a move of the pointer."""

    def __init__(self, stack: Stack, patience_s: float) -> None:
        self._models = Registry(stack.home / "volumes" / "models").project(PROJECT)
        self._patience_s, self._done = patience_s, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.how = "no promotion"

    def __enter__(self) -> "Promotion":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        until = time.monotonic() + self._patience_s
        while not self._done.wait(0.5):
            if self._models.champion() != "v0000":
                self.how = "a round's promotion"
                return
            if time.monotonic() > until:
                folder = self._models.folder("v0000")
                config = (folder / "config.py").read_text()
                self._models.promote(
                    self._models.write(self._models.card("v0000"), config, folder / "weights.pth")
                )
                self.how = "a pointer move to a copy of v0000"
                return


def labellers(home: Path, options: Options) -> Iterator[Figure]:
    """So many people submit and correct at once while pre-labelling writes predictions."""
    with databases(options.database) as new:
        appliance = Appliance(home, TASKS_OF_LABELLERS, new("labellers"))
        appliance.backend.start()
        with appliance.champion.serve() as appliance.champion.url:
            yield from _labelled(appliance, options)


def _labelled(appliance: Appliance, options: Options) -> Iterator[Figure]:
    try:
        appliance.start()
        appliance.prepare("import")
        appliance.operate("import")
        yield from _label_at_once(appliance, options)
    finally:
        appliance.stop()


def _label_at_once(appliance: Appliance, options: Options) -> Iterator[Figure]:
    labelstudio = appliance.labelstudio
    ids = [task["id"] for task in labelstudio.studio.iter_tasks(PROJECT)]
    people = [labelstudio.studio for _ in range(options.labellers)]
    tally, submitted = Tally(), dict[int, tuple[int, float]]()
    opened, handed_in = list[float](), list[float]()
    done = threading.Event()

    def label(worker: int, number: int) -> None:
        """Takes a task, submits a box, moves it. Every fifth task is one that all of them label."""
        studio = people[worker]
        task = ids[number % 7] if number % 5 == 0 else ids[(worker + number * options.labellers) % len(ids)]
        began = time.monotonic()
        studio.request("GET", f"/api/tasks/{task}")
        opened.append(time.monotonic() - began)
        content = {"result": _box(float(worker))}
        began = time.monotonic()
        made = studio.request("POST", f"/api/tasks/{task}/annotations/", json=content)["id"]
        handed_in.append(time.monotonic() - began)
        submitted[made] = (task, float(worker))
        moved = float(number % 50) + 20.0
        studio.request("PATCH", f"/api/annotations/{made}/", json={"result": _box(moved)})
        submitted[made] = (task, moved)

    stored = threading.Thread(target=_prelabel_again, args=(appliance, done, tally))
    stored.start()
    at_once(options.labellers, options.seconds, label, tally)
    done.set()
    stored.join(2 * REQUEST_S)
    there = {
        annotation["id"]: (task["id"], annotation["result"][0]["value"]["x"])
        for task in labelstudio.studio.iter_tasks(PROJECT, fields="all", page_size=100)
        for annotation in task["annotations"]
    }
    lost = [number for number, content in submitted.items() if there.get(number) != content]
    for failure, times in tally.failures.items():
        print(f"  {times} × {failure}")
    command = (
        f"{options.labellers} labellers without a pause through Label Studio's API for {options.seconds} s, "
        f"on {options.database}"
    )
    percentiles = quantiles(tally.took, n=100)
    opening, submitting = quantiles(opened, n=100), quantiles(handed_in, n=100)
    for name, value, unit, most in (
        ("submissions that failed", sum(tally.failures.values()), f"of {len(tally.took)}", 0),
        ("'database is locked' in its log", labelstudio.log.count("database is locked"), "", 0),
        ("lost or other than submitted", len(lost), f"of {len(submitted)}", 0),
        ("open, p50", opening[49], "s", PAGE_TARGET_S),
        ("open, p95", opening[94], "s", None),
        ("submit, p50", submitting[49], "s", PAGE_TARGET_S),
        ("submit, p95", submitting[94], "s", None),
        ("open, submit and correct, p50", percentiles[49], "s", None),
        ("open, submit and correct, p99", percentiles[98], "s", None),
    ):
        yield figure("load", f"labellers: {name}", value, unit, command, at_most=most)
    yield figure(
        "load",
        "labellers: predictions stored meanwhile",
        sum(tally.versions.values()),
        "",
        command,
        at_least=1,
    )


def _prelabel_again(appliance: Appliance, done: threading.Event, tally: Tally) -> None:
    """One champion after the other, each of which pre-labels what is unlabelled."""
    labelstudio = appliance.labelstudio
    registry = Registry(labelstudio.home / "volumes" / "models")
    backend = Backend(appliance.champion.url, BACKEND_PASSWORD)
    prelabeller = Prelabeller(labelstudio.studio, backend, registry, labelstudio.home / "volumes" / "rounds")
    while not done.is_set():
        version = appliance.champion.version or ""
        try:
            tally.versions[version] += prelabeller.run(fetch(labelstudio.studio, PROJECT), done.is_set)
        except Explained as error:
            tally.failures[f"pre-labelling: {error}"[:300]] += 1
        appliance.champion.version = versions.add_version(
            registry.project(PROJECT), labelstudio.home / "made"
        )
        registry.project(PROJECT).promote(appliance.champion.version)


def _box(x: float) -> list[dict[str, Any]]:
    value = {
        "x": x,
        "y": 5.0,
        "width": 15.0,
        "height": 20.0,
        "rotation": 0,
        "rectanglelabels": [shapes.LABELS[0]],
    }
    return [
        {
            "from_name": "label",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 320,
            "original_height": 240,
            "value": value,
        }
    ]
