"""An hour at the desk: how many clicks, drags and keys eight images take a person with the model's boxes,
in the real editor of a real stack.

A stack on the host runtime learns forty drawn pictures of two or three shapes each, some of them one in
another, in one round. A person that knows the true boxes then labels eight more in the label stream: what is
right stays, a box too many goes, a wrong label is changed, a loose box is moved or gets other corners, and
what is missing is drawn, with Ctrl where the drag begins in a box. A click, a drag and a key each are one
action, submitting included. The pictures are the seed's; a round is not the same to the last bit each time,
so its boxes are nearly so.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.desk_hand import Hand
from bench.desk_plan import LOOSEST, Why, plan
from bench.options import Options
from bench.report import Figure, figure
from bench.startup import throw_away_stack
from playwright.sync_api import Page
from support import shapes, shapes_stack
from support.browser import chromium, log_in_to_label_studio
from support.stack import Stack, wait_for
from support.unpredicted import without_prediction_of

from labelloop.boxes import Boxes
from labelloop.task_filters import UNLABELLED
from trainer.dashboard.agreement import Agreement, compare

LEARNT, IMAGES = 40, 8
ITERATIONS = 150
BEFORE = 4.9, 1.5
"""Actions an image, and those of them for second boxes on one object, when a person once did this on eight
such images: 39 and 12 in all."""
WAIT_S, ROUND_S = 300, 3000
COMMAND = "make bench ONLY=desk"


def run(options: Options) -> Iterator[Figure]:
    """The actions an image, by why; and how many objects have no right box in the end."""
    first = 10_000 * options.seeds[0]
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        stack = throw_away_stack(Path(scratch) / "appliance", "host")
        try:
            pictures = prepare(stack, first)
            actions, left = label(stack, pictures)
        finally:
            stack.run("down", check=False, timeout=180)
    yield from figures(actions, left, sum(len(made.boxes) for made in pictures.values()))


def prepare(stack: Stack, first: int) -> dict[str, shapes.Picture]:
    """Brings a stack up, has it learn, and puts IMAGES pictures in; returns these once they have boxes."""
    shapes_stack.up(stack, ITERATIONS, RETRAIN_EVERY=0)
    studio = stack.studio()
    learnt = shapes.save(stack.images / "learnt", LEARNT, first, shapes.crowded)
    wait_for("tasks", lambda: studio.count_tasks(1) >= LEARNT, WAIT_S)
    for task in studio.iter_tasks(1):
        body = {"result": learnt[file_of(task)].annotation()}
        studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
    said = stack.run("retrain", timeout=ROUND_S)
    assert "promoted v0001" in said, said
    pictures = shapes.save(stack.images / "desk", IMAGES, first + LEARNT, shapes.crowded)
    wait_for("tasks", lambda: studio.count_tasks(1) >= LEARNT + IMAGES, WAIT_S)
    wait_for("boxes", lambda: not studio.count_tasks(1, UNLABELLED, without_prediction_of("v0001")), WAIT_S)
    wait_for("boxes to be shown", lambda: studio.project(1)["model_version"] == "v0001", WAIT_S)
    return pictures


def label(stack: Stack, pictures: dict[str, shapes.Picture]) -> tuple[Counter[Why], int]:
    """Labels the pictures in the label stream: the actions, and how many objects have no right box then."""
    studio = stack.studio()
    names = {task["id"]: file_of(task) for task in studio.iter_tasks(1, UNLABELLED)}
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        env = stack.env()
        log_in_to_label_studio(page, stack.url, env["ADMIN_EMAIL"], env["ADMIN_PASSWORD"])
        page.goto(f"{stack.url}/projects/1/data?labeling=1")
        hand, left = Hand(page, tuple("12")), 0
        while names:
            task = hand.until("an image that is not labelled", lambda: _open_task(hand, names))
            close_what_is_told(page)
            left += label_one(hand, pictures[names.pop(task)])
            hand.press("Control+Enter", Why.SUBMIT)
            wait_for("the submission", lambda: studio.count_tasks(1, UNLABELLED) == len(names), WAIT_S)
    return hand.actions, left


def close_what_is_told(page: Page) -> None:
    """The instructions, which are shown once; no action, as nobody has them twice."""
    for name in ("Okay", "OK", "Close", "Got it"):
        button = page.get_by_role("button", name=name, exact=True)
        if button.count() and button.first.is_visible():
            button.first.click()


def label_one(hand: Hand, picture: shapes.Picture) -> int:
    """Corrects the boxes of the image that is open; how many objects have no right box then."""
    size = picture.image.size
    truth = Boxes.of(
        [box[:4] for box in picture.boxes], [1.0] * len(picture.boxes), [b[4] for b in picture.boxes]
    )
    shown = hand.regions()
    for step in plan(truth, _boxes(shown, size)):
        hand.do(step, None if step.shown is None else shown[step.shown]["id"], size)
    kinds = [row.kind for row in compare(truth, _boxes(hand.regions(), size), LOOSEST)]
    return len(truth) - kinds.count(Agreement.RIGHT)


def figures(actions: Counter[Why], left: int, objects: int) -> Iterator[Figure]:
    per_image = {why: count / IMAGES for why, count in actions.items()}
    yield figure(
        "desk", "actions an image", sum(per_image.values()), "", COMMAND, baseline=BEFORE[0], at_most=1.0
    )
    second = per_image.get(Why.SECOND, 0.0)
    yield figure("desk", f"of them for {Why.SECOND}", second, "", COMMAND, baseline=BEFORE[1], at_most=1.0)
    for why in Why:
        if why is not Why.SECOND:
            yield figure("desk", f"of them for {why}", per_image.get(why, 0.0), "", COMMAND)
    name = "objects without a right box in the end"
    yield figure("desk", name, left, "", COMMAND, at_most=0, detail=f"of {objects}")


def file_of(task: dict[str, Any]) -> str:
    return str(task["data"]["image"]).rsplit("/", 1)[1]


def _open_task(hand: Hand, names: dict[int, str]) -> int | None:
    """The task that is open, if it is still to be labelled."""
    state = hand.settled()
    return state["task"] if state["task"] in names else None


def _boxes(regions: list[dict[str, Any]], size: tuple[int, int]) -> Boxes:
    width, height = size
    corners = [
        (r["x"] * width / 100, r["y"] * height / 100)
        + ((r["x"] + r["width"]) * width / 100, (r["y"] + r["height"]) * height / 100)
        for r in regions
    ]
    return Boxes.of(corners, [1.0] * len(regions), [shapes.LABELS.index(r["label"]) for r in regions])
