"""How well the dashboard's label errors hit: wrong labels are planted, a round trains on them, and what the
dashboard then lists is compared with what was planted.

A doubt counts as a hit when its box is where an error was planted (IoU 0.5) that no surer doubt was about.
What is wrong with a data set's own labels counts as a miss, so the precision is a lower bound.
"""

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from bench.closed_loop import region
from bench.options import Options
from bench.planting import XYXY, Error, Labelled, Planted, plant
from bench.report import Figure, figure
from bench.startup import throw_away_stack
from support.stack import Stack, wait_for

from labelloop.files import write_text
from trainer.simulate.dataset import Dataset

SECTION = "label_errors"
SHARE = 0.05
FIRST = (10, 20)
IMPORT_S, ROUND_S, LOOK_S, ANSWER_S = 300.0, 3600.0, 1800.0, 60.0
FIRST_TARGET = 10.0  # times as many errors as in any order
LABEL_CONFIG = "configs/labels/bench.xml"


@dataclass(frozen=True)
class Doubt:
    """A line of the dashboard's table."""

    file: str
    why: str
    confidence: float
    box: XYXY


def run(options: Options) -> Iterator[Figure]:
    """Plants errors in train.json's labels; the first of SEEDS decides which.

    Raises:
        ValueError: COCO is not given, or too small. DatasetError: it cannot be used. AssertionError: a step
            took too long.
    """
    dataset, seed = options.dataset(), options.seeds[0]
    changed, planted = plant(read(dataset), SHARE, seed)
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        stack = throw_away_stack(Path(scratch) / "appliance")
        try:
            (stack.home / LABEL_CONFIG).write_text(dataset.label_config_xml)
            given = {"LABEL_CONFIG": LABEL_CONFIG, "RETRAIN_EVERY": 0, "THREADS": options.threads}
            stack.run("up", PORT=stack.port, **given)
            _label(stack, dataset.folder, changed)
            print(stack.run("retrain", timeout=ROUND_S).strip().splitlines()[-1], flush=True)
            doubts = look(stack)
        finally:
            stack.run("down", check=False, timeout=180)
    found = {"planted": [asdict(row) for row in planted], "doubts": [asdict(row) for row in doubts]}
    write_text(options.out / "label_errors.json", json.dumps(found, indent=1) + "\n")
    command = f"make bench ONLY={SECTION} COCO={dataset.folder} SEEDS={seed}"
    yield from figures(planted, doubts, sum(len(image.boxes) for image in changed), command)


def read(dataset: Dataset) -> list[Labelled]:
    """The images to label, by file name."""
    names = dataset.label_config.names
    images = []
    for image in sorted(dataset.train, key=lambda image: image.name):
        boxes = zip(image.boxes.labels, image.boxes.xyxy.tolist(), strict=True)
        placed = tuple((names[label], (x1, y1, x2, y2)) for label, (x1, y1, x2, y2) in boxes)
        images.append(Labelled(image.name, image.width, image.height, placed))
    return images


def _label(stack: Stack, coco_dir: Path, images: Sequence[Labelled]) -> None:
    """Drops the images, waits for their tasks and submits their boxes."""
    target = stack.images / "bench"
    target.mkdir(parents=True)
    for image in images:
        shutil.copyfile(coco_dir / "images" / image.file, target / image.file)
    studio = stack.studio()
    wait_for("tasks", lambda: studio.count_tasks(1) >= len(images), IMPORT_S)
    tasks = {
        Path(parse_qs(urlsplit(task["data"]["image"]).query)["d"][0]).name: task["id"]
        for task in studio.iter_tasks(1, fields="task_only", page_size=100)
    }
    for image in images:
        size = {"width": image.width, "height": image.height}
        results = [region([x1, y1, x2 - x1, y2 - y1], label, size) for label, (x1, y1, x2, y2) in image.boxes]
        studio.request("POST", f"/api/tasks/{tasks[image.file]}/annotations/", json={"result": results})


def look(stack: Stack) -> list[Doubt]:
    """Has the dashboard look at the labels, as a person does; its table, surest first."""
    env, browser = stack.env(), requests.Session()
    url = f"http://127.0.0.1:{env['DASHBOARD_PORT']}"

    def post(page: str, path: str, **fields: str) -> str:
        form = browser.get(url + page, timeout=ANSWER_S).text
        token = re.search(r'name="csrf" value="([^"]+)"', form)
        assert token, f"{url}{page} has no form"
        answer = browser.post(url + path, {"csrf": token[1], **fields}, timeout=ANSWER_S)
        answer.raise_for_status()
        return answer.text

    post("/login", "/login", email=env["ADMIN_EMAIL"], password=env["ADMIN_PASSWORD"])
    post("/label-errors?project=1", "/model/look?project=1&then=label-errors")

    def table() -> str:
        answer = browser.get(f"{url}/label-errors.csv?project=1", timeout=ANSWER_S)
        return answer.text if answer.ok else ""

    rows = csv.DictReader(io.StringIO(wait_for("the dashboard's look at the labels", table, LOOK_S)))
    return [
        Doubt(
            Path(row["image"]).name,
            row["doubt"],
            float(row["confidence"]),
            (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])),
        )
        for row in rows
    ]


def hits(planted: Sequence[Planted], doubts: Sequence[Doubt]) -> list[Planted | None]:
    """For each doubt the error that it has found, None where there is none."""
    left = list(planted)
    found: list[Planted | None] = []
    for doubt in doubts:
        hit = next((error for error in left if error.is_at(doubt.file, doubt.box)), None)
        if hit is not None:
            left.remove(hit)
        found.append(hit)
    return found


def figures(
    planted: Sequence[Planted], doubts: Sequence[Doubt], boxes: int, command: str
) -> Iterator[Figure]:
    """Precision and recall of the top of the list. boxes: how many were labelled; planted / boxes is what
    looking at them in any order finds.
    """
    found, count = hits(planted, doubts), len(planted)
    yield figure(SECTION, "planted errors", count, "", command)
    yield figure(SECTION, "doubts listed", len(doubts), "", command)
    for first in (*FIRST, count):
        precision = sum(hit is not None for hit in found[:first]) / first
        yield figure(
            SECTION,
            f"precision of the first {first}",
            precision,
            "",
            command,
            baseline=count / boxes,
            at_least=FIRST_TARGET if first in FIRST else None,
        )
    for why in sorted({doubt.why for doubt in doubts}):
        of_kind = [hit for hit, doubt in zip(found, doubts, strict=True) if doubt.why == why][: FIRST[-1]]
        precision = sum(hit is not None for hit in of_kind) / len(of_kind)
        detail = f"of the first {len(of_kind)}"
        yield figure(SECTION, f"precision: {why}", precision, "", command, detail=detail)
    for first in (count, 2 * count):
        yield figure(SECTION, f"recall in the first {first}", _recall(found[:first], planted), "", command)
        for error in Error:
            there = [row for row in planted if row.error is error]
            share = _recall([hit for hit in found[:first] if hit and hit.error is error], there)
            yield figure(SECTION, f"recall in the first {first}: {error}", share, "", command)


def _recall(found: Sequence[Planted | None], planted: Sequence[Planted]) -> float:
    return sum(hit is not None for hit in found) / len(planted)
