"""The pictures of docs/images/: a stack of its own, drawn shapes, three rounds, headless Chromium.

`make screenshots`; needs Debian's chromium and the host runtime or Docker, and takes about ten minutes.
"""

import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter
from playwright.sync_api import Page
from screenshots.labellers import labellers
from support import shapes, shapes_stack
from support.browser import chromium, log_in_to_label_studio
from support.consistency import everything_pre_labelled
from support.stack import REPO, Stack, wait_for

from labelloop.boxes import iou_matrix
from labelloop.labels import parse_label_config
from labelloop.regions import from_results

Row = dict[str, Any]

OUT = REPO / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
MAX_BYTES = 150_000
PICTURES, ITERATIONS = 48, 150
# So many pictures are labelled when a round is asked for.
ROUNDS = (12, 26, 40)
GOOD_IOU = 0.7
LABELS = parse_label_config(shapes.LABEL_CONFIG)
DASHBOARD = {"now": "/", "rounds": "/rounds", "model": "/model", "effort": "/effort"}


def main() -> int:
    # A proxy of the machine has no business in talks between programs on it.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.copy_of_work_tree(Path(folder) / "labelloop", "labelloop-screenshots")
        try:
            shapes_stack.up(stack, ITERATIONS=ITERATIONS, RETRAIN_EVERY=0)
            shoot_all(stack, train(stack))
        finally:
            stack.run("down", check=False, timeout=180)
    for path in sorted(OUT.glob("*.png")):
        print(f"{path.relative_to(REPO)}  {path.stat().st_size // 1000} kB")
    return 0


def train(stack: Stack) -> int:
    """Labels pictures and has rounds make boxes for the others; the unlabelled task with the most of them."""
    pictures = shapes.save(stack.images, PICTURES)
    for path in sorted(stack.images.glob("*.png")):
        smooth(path)
    stack.run("import")
    tasks = wait_for("tasks", lambda: _all(list(stack.studio().iter_tasks(1))), 120)
    pre_labelled(stack)
    for begin, end in pairwise((0, *ROUNDS)):
        proposed = stack.predictions()
        for task in tasks[begin:end]:
            label(stack, task, pictures, proposed[task["id"]][-1])
        print(stack.run("retrain", timeout=1800))
        pre_labelled(stack)
    boxes = {task: len(rows[-1]["result"]) for task, rows in stack.predictions().items() if rows}
    return max((task["id"] for task in tasks[ROUNDS[-1] :]), key=lambda task: boxes.get(task, 0))


def label(stack: Stack, task: Row, pictures: dict[str, shapes.Picture], proposed: Row) -> None:
    """As a person does: a proposed box that is good stays as it is, the rest becomes the truth."""
    truth = pictures[task["data"]["image"].rsplit("/", 1)[1]].annotation()
    result = [next((box for box in proposed["result"] if is_good(box, true)), true) for true in truth]
    annotation = {"result": result, "lead_time": 3.0 + 2.0 * len(truth), "parent_prediction": proposed["id"]}
    stack.studio().request("POST", f"/api/tasks/{task['id']}/annotations", json=annotation)


def is_good(box: Row, true: Row) -> bool:
    (one, _), (other, _) = (from_results([row], LABELS) for row in (box, true))
    overlap = iou_matrix(one.xyxy, other.xyxy)[0, 0]
    return bool(one.labels[0] == other.labels[0] and overlap >= GOOD_IOU)


def pre_labelled(stack: Stack) -> None:
    wait_for("boxes", lambda: everything_pre_labelled(stack), 300)


def smooth(path: Path) -> None:
    """Takes the noise out of a picture: it would eat the colours of the screenshot."""
    with Image.open(path) as image:
        quiet = image.convert("RGB")
    for _ in range(3):
        quiet = quiet.filter(ImageFilter.MedianFilter(7))
    quiet.save(path)


def shoot_all(stack: Stack, task: int) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(60_000)
        label_studio(page, stack, task)
        dashboard(page, stack)
        labellers(page, stack.url, shoot)


def _all(tasks: list[Row]) -> list[Row] | None:
    return tasks if len(tasks) == PICTURES else None


def label_studio(page: Page, stack: Stack, task: int) -> None:
    env = stack.env()
    log_in_to_label_studio(page, stack.url, env["ADMIN_EMAIL"], env["ADMIN_PASSWORD"])
    page.goto(f"{stack.url}/projects/1/data?task={task}")
    wait_for("boxes on the canvas", lambda: page.evaluate(_REGIONS), 60)
    page.wait_for_timeout(2000)
    shoot(page, "label-studio")


_REGIONS = "() => (window.Htx?.annotationStore?.selected?.regionStore.regions || []).length"


def dashboard(page: Page, stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.env()['DASHBOARD_PORT']}"  # logged in at Label Studio, she is here, too
    for name, path in DASHBOARD.items():
        page.goto(url + path)
        page.wait_for_load_state("networkidle")
        shoot(page, name)


def shoot(page: Page, name: str) -> None:
    """<name>.png with as many colours as fit into MAX_BYTES."""
    path = OUT / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as image:
        full = image.convert("RGB")
    for colours in (128, 64, 32, 16):
        full.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            return
    raise SystemExit(f"{path} has {path.stat().st_size} bytes with 16 colours; {MAX_BYTES} are allowed")


if __name__ == "__main__":
    sys.exit(main())
