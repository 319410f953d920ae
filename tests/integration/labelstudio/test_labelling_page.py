"""A labeller in headless Chromium: nothing that she does all day is refused by what closes the doors."""

import re
import shutil
from collections.abc import Iterator

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import LabelStudio
from integration.support.people import PASSWORD_OF_ALL, sign_up
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from support.browser import chromium

from trainer.dashboard.studio_links import labelled, stream, waiting

ANN = "ann.page@example.org"
PATIENCE_MS = 60_000


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


@pytest.fixture
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
        browser.open("/user/login/")
        page.fill("input[name=email]", ANN)
        page.fill("input[name=password]", PASSWORD_OF_ALL)
        page.click("button[type=submit]")
        page.wait_for_url(re.compile(r"/(projects|$)"))
        yield browser
    studio.request("DELETE", f"/api/projects/{project}")
    shutil.rmtree(folder)


def test_she_labels_in_the_stream_and_one_by_one(ann: Browser, provisioned: LabelStudio) -> None:
    page, annotations = ann.page, r"/api/tasks/\d+/annotations"
    ann.open(waiting(f"/projects/{ann.project}/data"))
    expect(page.get_by_text("Tasks: 4 / 4")).to_be_visible(timeout=PATIENCE_MS)
    ann.open("/projects/")
    page.get_by_text("page", exact=True).first.click()
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
