"""What is done on the dashboard by keyboard, in headless Chromium on made folders."""

import re

import pytest
from integration.support.dashboard_page import PHONE
from playwright.sync_api import Page, Route, expect
from support.browser import loaded
from support.dashboard import EMAIL
from support.fake_studio import FakeStudio
from support.verify_data import propose

from trainer.dashboard import sure
from trainer.dashboard.loop import WatchedLoop
from trainer.rounds import heartbeat


def test_a_button_by_keyboard(page: Page, loop: WatchedLoop) -> None:
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0001"}, {})
    page.get_by_role("link", name="Start a round").press("Enter")
    expect(page.get_by_role("heading", name="Start a round?")).to_be_visible()
    loaded(page).get_by_role("button", name="Start a round").press("Enter")
    expect(page.get_by_text(re.compile(r"Round \d+ requested\."))).to_be_visible()
    asked = loop.rounds.open_round(1)
    assert asked is not None and asked.requested_by == f"dashboard, {EMAIL}"
    loop.rounds.cancel(asked.id)


def test_the_slider_follows_the_keyboard(page: Page, url: str) -> None:
    page.goto(f"{url}/model?project=1&version=v0001")
    slider = page.get_by_label("Boxes from a score of")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#effect")).to_contain_text("Boxes from a score of 1.00 on")
    page.keyboard.press("Home")
    expect(page.locator("#effect")).to_contain_text("Boxes from a score of 0.00 on")


@pytest.mark.parametrize(("path", "script"), [("/verify", "verify.js"), ("/label-errors", "review.js")])
def test_what_has_keys_is_not_shown_before_they_work(page: Page, url: str, path: str, script: str) -> None:
    """However late the script comes: a key that is pressed upon what is seen would be lost."""
    held: list[Route] = []
    page.route(f"**/static/{script}", lambda route: held.append(route))
    with page.expect_request(f"**/static/{script}"):
        page.goto(f"{url}{path}?project=1", wait_until="commit")
    for _ in range(600):
        page.wait_for_timeout(100)  # lets the route be handled, and the page be drawn if it wants to
        if held:
            break
    heading = page.get_by_role("heading", level=1)
    assert not heading.is_visible()
    held[0].continue_()
    expect(heading).to_be_visible()


def test_doubts_are_settled_by_keys(page: Page, url: str, studio: FakeStudio) -> None:
    """Three keys, one taken back; each leads on to the next doubt."""

    def annotated() -> int:
        rows = (task["annotations"][0]["result"] for task in studio.tasks.values() if "annotations" in task)
        return sum(map(len, rows))

    def current() -> str:
        return page.locator(".doubt.current").get_attribute("id") or ""

    page.route("**/projects/1/data?task=*", lambda route: route.fulfill(body="<title>the task</title>"))
    page.goto(f"{url}/label-errors?project=1&kind=missing")
    page.get_by_role("button", name="adjust it in Label Studio").first.click()  # with the mouse
    expect(page).to_have_title("the task")
    before = annotated()
    for kind, key, after in (("missing", "a", before + 1), ("extra", "d", before), ("label", "c", before)):
        page.goto(f"{url}/label-errors?project=1&kind={kind}")
        marked = page.locator(f".doubt.current:has([data-key={key}])")
        while not marked.count():
            page.keyboard.press("n")
        settled = current()
        page.keyboard.press(key)
        expect(page.locator(".said.well")).to_contain_text("Task ")
        expect(page.locator(f"#{settled}")).to_have_count(0)
        assert annotated() == after and current() != settled
    loaded(page).keyboard.press("u")
    expect(page.locator(".said.well")).to_contain_text("taken back")
    expect(page.locator(f"#{settled}")).to_have_count(1)


def test_crops_are_verified_by_keys(
    page: Page, url: str, loop: WatchedLoop, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sure, "limits", lambda evaluation, config: {"ball": 0.9})
    tasks = [propose(loop, studio, ("ball", 0.95)) for _ in range(26)]
    crops, marked, said = (page.locator(f) for f in (".crop", ".crop :checked", ".said.well"))
    page.goto(f"{url}/verify?project=1")
    expect(crops).to_have_count(24)
    for key in ("c", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="All right but 2")).to_be_visible()
    page.keyboard.press("Enter")
    expect(said).to_contain_text("22 right, 2 wrong. 22 images submitted; 2 images left to Label Studio")
    expect(crops).to_have_count(2)
    loaded(page).keyboard.press("z")
    expect(said).to_contain_text("Taken back: 24 crops")
    expect(marked).to_have_count(2)
    loaded(page).keyboard.press("b")
    page.keyboard.press("Enter")
    expect(said).to_contain_text("23 right, 1 wrong")
    loaded(page).set_viewport_size(PHONE)  # type: ignore[arg-type]
    crops.first.click()
    expect(marked).to_have_count(1)
    page.get_by_role("button", name="All right but 1").click()
    expect(page.get_by_text("Nothing sure any more")).to_be_visible()
    written = [row["lead_time"] for task in tasks for row in studio.tasks[task].get("annotations", ())]
    assert len(written) == 24 and all(0 < seconds < 20 for seconds in written)
