"""A labeller in headless Chromium: nothing that she does all day is refused by what closes the doors."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import BACKEND_PASSWORD, LabelStudio
from integration.support.people import PASSWORD_OF_ALL, sign_up
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect
from support.browser import chromium, log_in_to_label_studio

from labelloop import connection
from labelloop.boxes import Boxes
from labelloop.instructions import KEYS
from labelloop.labels import parse_label_config
from labelloop.regions import from_results, to_results
from labelloop.runner_up import noted
from labelloop.settings import Settings
from labelloop.verified import BESIDE
from trainer.dashboard.studio_links import labelled, stream, waiting

ANN = "ann.page@example.org"
PATIENCE_MS = 60_000
MOMENT_MS = 300


class Browser:
    """A page, and the answers of 400 and more that it got: `refused`, each as status, method and path."""

    def __init__(self, page: Page, url: str, project: int) -> None:
        self.page = page
        self.url = url
        self.project = project
        self.refused: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("response", lambda answer: self._note(answer.status, answer.request.method, answer.url))

    def _note(self, status: int, method: str, url: str) -> None:
        if status >= 400:
            self.refused.append(f"{status} {method} {url.removeprefix(self.url)}")

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def draws(self, at: int, regions: int) -> None:
        """A box with the first label, `at` pixels from the image's corner, once the image is there.

        regions: how many there are then.
        """
        count = "() => window.Htx?.annotationStore?.selected?.regionStore?.regions?.length ?? 0"
        canvas = self.page.locator(".konvajs-content canvas").first
        canvas.wait_for()
        for _ in range(PATIENCE_MS // 1000):
            self.page.keyboard.press("1")
            box = canvas.bounding_box()
            if box is None:  # the page draws it anew
                self.page.wait_for_timeout(1000)
                continue
            self.page.mouse.move(box["x"] + at, box["y"] + at)
            self.page.mouse.down()
            self.page.mouse.move(box["x"] + at + 60, box["y"] + at + 50, steps=5)
            self.page.mouse.up()
            self.page.wait_for_timeout(1000)
            if self.page.evaluate(count) >= regions:
                return
        raise AssertionError("no box could be drawn")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=re.compile(f"^{name}", re.IGNORECASE)).first

    def presses(self, name: str, path: str, method: str = "POST") -> None:
        """Clicks a button and waits for the answer to what it sends."""
        button = self.button(name)
        expect(button).to_be_enabled(timeout=PATIENCE_MS)
        pattern = re.compile(path)
        with self.page.expect_response(lambda a: a.request.method == method and bool(pattern.search(a.url))):
            button.click()


@pytest.fixture(scope="module")
def ann(provisioned: LabelStudio) -> Iterator[Browser]:
    """Logged in, in a project of four images."""
    studio = provisioned.studio
    folder = provisioned.images / "page"
    folder.mkdir()
    config = studio.project(state(provisioned)["project"])["label_config"]
    project = studio.request("POST", "/api/projects", json={"title": "page", "label_config": config})["id"]
    for number in range(4):
        Image.new("RGB", (320, 240), (60 * number, 90, 60)).save(folder / f"{number}.png")
        data = {"image": f"/data/local-files/?d=images/page/{number}.png"}
        studio.request("POST", "/api/tasks", json={"project": project, "data": data})
    assert sign_up(provisioned, ANN).status_code == 302
    with chromium() as launched:
        page = launched.new_page(viewport={"width": 1280, "height": 900})
        browser = Browser(page, provisioned.url, project)
        log_in_to_label_studio(page, provisioned.url, ANN, PASSWORD_OF_ALL)
        yield browser
    studio.request("DELETE", f"/api/projects/{project}")
    shutil.rmtree(folder)


@pytest.fixture
def interactive(ann: Browser, provisioned: LabelStudio, backend: FakeBackend) -> Iterator[None]:
    """Her project has our backend, as the provisioner connects it."""
    settings = Settings(mlbackend_url=backend.url, backend_password=BACKEND_PASSWORD)
    studio = provisioned.studio
    made = studio.request("POST", "/api/ml", json=connection.fields(settings, ann.project))
    yield
    studio.request("DELETE", f"/api/ml/{made['id']}")


def test_she_labels_in_the_stream_and_one_by_one(ann: Browser, provisioned: LabelStudio) -> None:
    page, annotations = ann.page, r"/api/tasks/\d+/annotations"
    ann.open(waiting(f"/projects/{ann.project}/data"))
    expect(page.get_by_text("Tasks: 4 / 4")).to_be_visible(timeout=PATIENCE_MS)
    ann.open(f"/projects/{ann.project}/data")
    page.get_by_role("button", name="Label All Tasks").click()
    ann.draws(40, regions=1)
    ann.presses("submit", annotations)
    ann.presses("skip", annotations)
    expect(ann.button("submit")).to_be_enabled(timeout=PATIENCE_MS)

    tasks = list(provisioned.studio.iter_tasks(ann.project))
    skipped = next(task for task in tasks if task["cancelled_annotations"])
    ann.open(f"/projects/{ann.project}/data?task={skipped['id']}")
    ann.presses("cancel.skip", r"/api/annotations/\d+", "DELETE")

    ann.open(labelled(f"/projects/{ann.project}/data"))
    expect(page.get_by_text("Tasks: 1 / 4")).to_be_visible(timeout=PATIENCE_MS)
    ann.open(stream(f"/projects/{ann.project}/data"))
    expect(ann.button("submit")).to_be_enabled(timeout=PATIENCE_MS)

    done = next(task for task in tasks if task["total_annotations"])
    ann.open(f"/projects/{ann.project}/data?task={done['id']}")
    expect(page.get_by_text("Update", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    ann.draws(120, regions=2)
    ann.presses("submit", r"/api/annotations/\d+", "PATCH")
    (annotation,) = provisioned.studio.request("GET", f"/api/tasks/{done['id']}/annotations")
    assert len(annotation["result"]) == 2

    ann.open("/user/account/personal-access-token")
    expect(page.get_by_text("Personal Access Token").first).to_be_visible(timeout=PATIENCE_MS)
    assert ann.refused == []


BOXES = """() => window.Htx.annotationStore.selected.serializeAnnotation().map(({ value }) => [
  value.rectanglelabels[0], ...["x", "y", "width", "height"].map((name) => 5 * Math.round(value[name] / 5))
])"""
"""Labels, and left, top, width and height in percent, to the nearest five."""
ZOOM = """() => { const image = window.Htx.annotationStore.selected.names.get("image");
  return [image.zoomScale, Math.round(image.zoomingPositionX)] }"""
WRITTEN = """() => { const image = window.Htx.annotationStore.selected.names.get("image");
  return image.stageRef.find("Text").map((text) => text.text()) }"""
"""What is written on the image."""
PROPOSED = [["person", 10, 10, 50, 60], ["car", 65, 20, 25, 60]]
DRAWN = ["person", 30, 40, 10, 20]
A_MAC = "Object.defineProperty(navigator, 'platform', { get: () => 'MacIntel' })"


class Editor:
    """A task's image with two proposed boxes. Places on it are shares of its width and height."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        page.locator(".konvajs-content canvas").first.wait_for()
        page.wait_for_function("() => window.Htx.annotationStore.selected.regions.length > 1")
        page.locator("#labelloop-progress").wait_for(state="attached")

    def has(self, *wanted: list[Any]) -> None:
        """Waits a moment, and then until the boxes are these."""
        for _ in range(PATIENCE_MS // MOMENT_MS):
            self.page.wait_for_timeout(MOMENT_MS)
            if self.page.evaluate(BOXES) == list(wanted):
                return
        assert self.page.evaluate(BOXES) == list(wanted)

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(".konvajs-content").first.bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))
        self.page.wait_for_timeout(MOMENT_MS)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self.page.mouse.move(*self.at(x, y))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(to_x, to_y), steps=5)
        self.page.mouse.up()


@pytest.fixture
def proposed(ann: Browser, provisioned: LabelStudio) -> str:
    """The address of a task with PROPOSED, on which nobody has worked. The car may be a bicycle."""
    studio = provisioned.studio
    image = {"image": "/data/local-files/?d=images/page/0.png"}
    task = studio.request("POST", "/api/tasks", json={"project": ann.project, "data": image})["id"]
    config = parse_label_config(studio.project(ann.project)["label_config"])
    boxes = Boxes.of([[32, 24, 192, 168], [208, 48, 288, 192]], [0.9, 0.8], [0, 2])
    result = list(noted(to_results(boxes, config, 320, 240), ["", "or bicycle, 0.41"]))
    result[0][BESIDE] = 0.07
    row = {"task": task, "result": result, "score": 0.5, "model_version": "v0001"}
    studio.import_predictions(ann.project, [row])
    studio.update_project(ann.project, model_version="v0001", description="1 of 5 images labelled. Ours.")
    return f"/projects/{ann.project}/data?task={task}"


def test_the_keys_that_she_is_told_do_what_they_say(
    ann: Browser, provisioned: LabelStudio, proposed: str
) -> None:
    """And a box that she has not selected stays where it is."""
    page, keyboard = ann.page, ann.page.keyboard
    editor = Editor(page, ann.url + proposed)
    line = page.locator("#labelloop-keys-bar")
    assert line.locator("b").all_inner_texts() == [key for key, _, _ in KEYS]
    expect(page.locator("#labelloop-progress")).to_have_text("1 of 5 images labelled")
    assert page.evaluate("() => window.Htx.settings.showLabels") is True
    line.get_by_role("button").click()

    editor.has(*PROPOSED)
    editor.drag(0.3, 0.4, 0.35, 0.5)
    editor.has(*PROPOSED)
    keyboard.press("Escape")
    keyboard.press("1")
    editor.drag(0.3, 0.4, 0.4, 0.6)
    editor.has(*PROPOSED, DRAWN)

    editor.click(0.8, 0.5)
    editor.drag(0.8, 0.5, 0.85, 0.5)
    editor.has(PROPOSED[0], ["car", 70, 20, 25, 60], DRAWN)
    keyboard.press("Control+z")
    editor.has(*PROPOSED, DRAWN)
    keyboard.press("Escape")
    page.wait_for_function(f"() => ({WRITTEN})().includes('2: car, or bicycle [2]')")
    editor.click(0.8, 0.5)
    expect(page.get_by_text("or bicycle, 0.41", exact=True)).to_be_visible()
    keyboard.press("2")
    editor.has(PROPOSED[0], ["bicycle", *PROPOSED[1][1:]], DRAWN)
    page.wait_for_function(f"() => ({WRITTEN})().includes('2: bicycle')")
    assert "or" not in " ".join(page.evaluate(WRITTEN))
    keyboard.press("Backspace")
    editor.has(PROPOSED[0], DRAWN)

    page.mouse.move(*editor.at(0.5, 0.5))
    keyboard.down("Control")
    page.mouse.wheel(0, -300)
    keyboard.up("Control")
    page.wait_for_function(f"() => ({ZOOM})()[0] > 1")
    page.wait_for_timeout(MOMENT_MS)
    left = page.evaluate(ZOOM)[1]
    keyboard.down("Shift")
    editor.drag(0.5, 0.5, 0.55, 0.5)
    keyboard.up("Shift")
    page.wait_for_function(f"left => ({ZOOM})()[1] > left", arg=left)
    with page.expect_response(lambda a: a.request.method == "POST" and "/annotations" in a.url) as answer:
        keyboard.press("Control+Enter")
    config = parse_label_config(provisioned.studio.project(ann.project)["label_config"])
    found, problems = from_results(answer.value.json()["result"], config)
    assert len(found) == 2 and problems == []
    assert not any(BESIDE in row for row in answer.value.json()["result"])


RELABEL = """label => {
  const region = window.Htx.annotationStore.selected.regions.at(-1);
  region.labeling.setValue([label]);
}"""
SOURCES = """() => window.Htx.annotationStore.selected.serializeAnnotation().map(
  ({ origin, meta }) => [origin, meta?.from])"""


def test_a_click_with_a_label_chosen_fetches_a_box_and_again_another_size(
    ann: Browser, interactive: None, proposed: str, backend: FakeBackend
) -> None:
    page, keyboard = ann.page, ann.page.keyboard
    with page.expect_response(lambda answer: "include=ml_backends" in answer.url) as which_answers:
        editor = Editor(page, ann.url + proposed)
    which_answers.value.finished()
    editor.has(*PROPOSED)

    def click_gets(*box: Any) -> None:
        keyboard.press("Escape")
        keyboard.press("1")
        with page.expect_response(lambda a: "interactive-annotating" in a.url):
            page.mouse.click(*editor.at(0.5, 0.9))
        editor.has(*PROPOSED, list(box))

    click_gets("person", 40, 80, 20, 20)
    contexts = [body["params"].get("context") for path, body in backend.requests if path == "/predict"]
    (hint,) = [context for context in contexts if context][-1]["result"]
    assert hint["type"] == "keypointlabels" and hint["value"]["keypointlabels"] == ["person"]
    assert abs(hint["value"]["x"] - 50) < 3 and abs(hint["value"]["y"] - 90) < 3
    keyboard.press("Control+z")
    editor.has(*PROPOSED)
    click_gets("person", 40, 80, 20, 20)
    assert page.evaluate(SOURCES)[2] == ["prediction", "click"]
    click_gets("person", 30, 70, 40, 40)
    keyboard.press("Escape")
    keyboard.press("1")
    editor.drag(0.05, 0.8, 0.15, 0.95)
    page.wait_for_function(f"() => ({BOXES})().length === 4")

    def she_relabels_it_meanwhile(route: Route) -> None:
        page.evaluate(RELABEL, "bicycle")
        route.continue_()

    page.route("**/interactive-annotating", she_relabels_it_meanwhile)
    keyboard.press("Escape")
    keyboard.press("1")
    with page.expect_response(lambda answer: "interactive-annotating" in answer.url):
        page.mouse.click(*editor.at(0.95, 0.08))
    page.unroute("**/interactive-annotating")
    page.wait_for_timeout(MOMENT_MS)
    label, *_, width, height = page.evaluate(BOXES)[4]
    assert label == "bicycle" and max(width, height) < 5, "what she has changed meanwhile is not replaced"


def test_on_a_mac_too_and_she_is_told_once(ann: Browser, proposed: str) -> None:
    page = ann.page
    page.evaluate("() => localStorage.clear()")
    page.add_init_script(A_MAC)
    editor = Editor(page, ann.url + proposed)
    line = page.locator("#labelloop-keys-bar")
    assert line.locator("b").all_inner_texts() == [key for _, key, _ in KEYS]
    line.get_by_role("button").click()
    page.keyboard.press("1")
    editor.drag(0.3, 0.4, 0.4, 0.6)
    editor.has(*PROPOSED, DRAWN)
    page.keyboard.press("Meta+z")
    editor.has(*PROPOSED)
    with page.expect_response(lambda a: a.request.method == "POST" and "/annotations" in a.url):
        page.keyboard.press("Meta+Enter")
    Editor(page, ann.url + proposed)
    expect(line).to_have_count(0)
