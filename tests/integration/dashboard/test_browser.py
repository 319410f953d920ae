"""The dashboard in headless Chromium on made folders: what moves, moves; buttons work by keyboard."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import chromium
from support.dashboard import EMAIL, PASSWORD, Login
from support.dashboard_data import Guesser, finished_round, label_in, snapshot_of
from support.dashboard_pages import PAGES
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.verify_data import propose
from support.versions import add_version

from labelloop.files import write_text
from labelloop.studio import Studio
from trainer.dashboard import predictions, sure
from trainer.dashboard.app import create_app
from trainer.dashboard.looking import Look
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.survey import Survey
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.rounds import heartbeat
from trainer.rounds.table import State

LONG = "https://images.example.org/" + "a-very-long-folder-without-any-blank/" * 5 + "0001.jpg"
LEFT_OUT = (
    LeftOut(
        3, "images/cam 1/0003.jpg", Kind.REGION, "region r1: made by 'box', which the label config lacks"
    ),
    LeftOut(4, LONG, Kind.AWAY, f"{LONG}: 503 Service Unavailable"),
    LeftOut(5, "images/5.jpg", Kind.EXCLUDED, "'Unusable' is ticked"),
    LeftOut(6, "images/6.jpg", Kind.SLIVER, "'ball' at x 32 to 33.3, y 24 to 96 px"),
)
SERIOUS = ("serious", "critical")
ONE_LINE_PX = 56
PHONE = {"width": 390, "height": 664}
"""What a phone's browser leaves of its screen."""


@pytest.fixture(scope="module")
def studio() -> FakeStudio:
    return FakeStudio()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, studio: FakeStudio) -> Iterator[WatchedLoop]:
    """Project 1 after one round."""
    home = tmp_path_factory.mktemp("home")
    backend = FakeBackend()
    studio.add_project()["title"] = "Defects on printed circuit boards, line 4, both cameras"
    studio.add_project(2)["title"] = "Bären & 熊"
    with studio.serve() as studio_url, backend.serve() as backend_url:
        settings = TrainerSettings(labelloop_home=home, labelstudio_url=studio_url, mlbackend_url=backend_url)
        settings.images_dir.mkdir(parents=True)
        made = WatchedLoop(settings, Studio(studio_url, "token"), Backend(backend_url, "backend"))
        models = made.models(1)
        models.promote(add_version(models, home / "made"))
        heartbeat.beat(settings.rounds_dir, {"1": "v0000"}, {})
        finished_round(made, 25, stray=5, champion_stray=30)
        _look(made, studio)
        backend.version = models.champion()
        survey = Survey(1, datetime.now(UTC), "", LEFT_OUT, ("2 images taught that nothing is there",))
        replace(survey, train=20, holdout=5, boxes=25).write(settings.rounds_dir)
        yield made


def _look(loop: WatchedLoop, studio: FakeStudio) -> None:
    """v0001 has looked at the images, and missed and mistaken some."""
    snapshot = snapshot_of(loop, 25)
    label_in(studio, snapshot)
    for _ in range(5):
        studio.add_task()
    folder = loop.models(1).path / "seen" / "v0001.1"
    snapshot.write(folder)
    guesser = Guesser.of(loop, snapshot, "v0001", 25)
    boxes = {image.id: predictions.rows_of(guesser._guess(image)) for image in snapshot.images}
    made = predictions.Predictions(version="v0001", fingerprint="f", boxes=boxes, began=datetime.now(UTC))
    write_text(predictions.path_of(folder, "v0001"), made.model_dump_json())


@pytest.fixture(scope="module")
def app(loop: WatchedLoop, studio: FakeStudio) -> FastAPI:
    return create_app(loop, "a secret", Login(studio))


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def opened(
    browser: Browser | BrowserContext, url: str, scheme: str = "light", width: int = 1280
) -> tuple[Page, list[str]]:
    """A logged-in page, and what it complains of from now on. A context brings its own scheme and width."""
    if isinstance(browser, Browser):
        page = browser.new_page(
            color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
        )
    else:
        page = browser.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    return page, complaints


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    shown, complaints = opened(browser, url)
    yield shown
    shown.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_serious_for_axe_and_nothing_beyond_the_edge(
    browser: Browser, url: str, scheme: str, width: int
) -> None:
    page, complaints = opened(browser, url, scheme, width)
    for path in PAGES:
        page.goto(f"{url}{path}?project=1")
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["help"]) for rule in found if rule["impact"] in SERIOUS] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate("document.querySelector('header').offsetHeight") <= ONE_LINE_PX, path
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
        assert broken == 0, path
    page.close()
    assert complaints == []


def test_a_rounds_progress_arrives_by_itself_and_is_announced_once(page: Page, loop: WatchedLoop) -> None:
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0001"}, {})
    round_, _ = loop.rounds.request(1, "the test")
    expect(page.get_by_role("heading", name=f"Round {round_.id}: requested")).to_be_visible()
    loop.rounds.move(round_.id, State.SNAPSHOTTING)
    loop.rounds.move(round_.id, State.TRAINING)
    folder = loop.rounds.folder(round_.id)
    folder.mkdir()
    lines = [f'{{"iter": {n}, "iterations": 80, "loss": {9 / n}}}\n' for n in range(1, 41)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    (folder / "log.txt").write_text("the log's last words\n")
    loop.rounds.progress(round_.id, 0.5, "iteration 40 of 80", 61.0)
    expect(page.get_by_text("2/3 training, 50%, 1:01 min left")).to_be_visible()
    expect(page.locator("#announcement")).to_have_text(f"Round {round_.id}: training")
    expect(page.get_by_role("img", name=re.compile("after 40 of 80 iterations"))).to_be_visible()
    words = page.get_by_text("the log's last words")
    expect(words).to_be_hidden()
    page.get_by_text("The end of its log").click()
    expect(words).to_be_visible()
    _progress_is_above_the_fold(page)
    drawn: list[str] = []
    page.on("request", lambda request: drawn.append(request.url) if "loss.svg" in request.url else None)
    page.get_by_text("As a table").click()
    loop.rounds.progress(round_.id, 0.6, "iteration 48 of 80", 50.0)
    expect(page.get_by_text("60%")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Loss")).to_be_visible()  # what was unfolded stays so
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"iter": 41, "iterations": 80, "loss": 0.2}\n')
    loop.rounds.progress(round_.id, 0.7, "iteration 41 of 80", 40.0)
    expect(page.get_by_text("70%")).to_be_visible()
    assert drawn == []  # charts are drawn now and then, not with every look
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.writelines(f'{{"iter": {n}, "iterations": 80, "loss": 0.2}}\n' for n in range(42, 51))
    expect(page.locator("img.chart[src*='at=25']")).to_be_visible()
    assert len(drawn) == 1
    loop.rounds.move(round_.id, State.FAILED, error="stopped by the test")
    expect(page.locator("#announcement")).to_have_text(f"Round {round_.id}: failed. stopped by the test")


def test_times_are_in_the_readers_zone_also_in_parts_that_arrive_later(
    browser: Browser, url: str, loop: WatchedLoop
) -> None:
    round_, _ = loop.rounds.request(1, "the test")
    loop.rounds.record(round_.id, requested_at="2026-11-22T21:15:30+00:00")
    context = browser.new_context(timezone_id="Pacific/Auckland", viewport={"width": 390, "height": 900})
    page, complaints = opened(context, url)
    asked = page.locator("#round time")
    expect(asked).to_have_text("2026-11-23 10:15")
    expect(asked).to_have_attribute("title", "2026-11-23 10:15 Pacific/Auckland, 2026-11-22 21:15 UTC")
    expect(page.locator("#zone")).to_have_text("Times are in the zone Pacific/Auckland.")
    page.evaluate("document.getElementById('model').dataset.mark = 'as it was'")
    loop.rounds.move(round_.id, State.FAILED, error="stopped by the test")
    expect(asked).to_have_count(2)
    expect(asked.first).to_have_text("2026-11-23 10:15")
    expect(asked.last).not_to_contain_text("UTC")
    assert page.locator("#model").get_attribute("data-mark") == "as it was"  # not drawn anew for its times
    page.goto(f"{url}/do/rollback?project=1")
    expect(page.locator("option[value=v0000]")).not_to_contain_text("UTC")
    context.close()
    assert complaints == []


def test_a_word_says_what_it_means_by_keyboard_mouse_and_tap(browser: Browser, url: str) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 900})
    page, complaints = opened(context, url)
    word, tip = page.locator("#model .term", has_text="hold-out").first, page.locator("#tip")
    meaning = "Labelled images that are never trained on, so that models can be tested on them."
    expect(word).to_have_attribute("title", meaning)
    word.focus()
    expect(tip).to_have_text(meaning)
    expect(word).to_have_accessible_description(meaning)
    box = tip.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    word.hover()
    expect(tip).to_be_visible()
    page.mouse.move(0, 0)
    page.locator("h1").tap()
    expect(tip).to_be_hidden()
    word.tap()
    expect(tip).to_have_text(meaning)
    assert "/glossary" not in page.url
    word.tap()
    expect(page.get_by_role("heading", name="Glossary")).to_be_visible()
    assert page.url.endswith("#term-hold-out")
    context.close()
    assert complaints == []


def _progress_is_above_the_fold(page: Page) -> None:
    for size in (PHONE, {"width": 1280, "height": 900}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.evaluate("scrollTo(0, 0)")
        box = page.get_by_role("progressbar").bounding_box()
        assert box is not None and box["y"] + box["height"] < 0.7 * size["height"], size


@pytest.mark.parametrize("width", [1201, 1280])
def test_two_more_entries_of_the_menu_still_fit_the_line(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(
        """() => { for (const name of ["Words", "Help"]) {
            const entry = document.createElement("li");
            entry.innerHTML = `<a href="#">${name}</a>`;
            document.querySelector("header nav ul").append(entry);
        } }"""
    )
    assert page.evaluate("document.querySelector('header').offsetHeight") <= ONE_LINE_PX
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    assert page.get_by_label("Project").evaluate("select => select.offsetWidth") >= 70


def test_buttons_follow_the_state_while_the_page_is_open(page: Page, loop: WatchedLoop) -> None:
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0001"}, {})
    start, cancel = (page.get_by_role("link", name=name) for name in ("Start a round", "Cancel the round"))
    rollback = page.get_by_role("link", name="Roll back")
    expect(start).to_be_visible()
    expect(cancel).to_have_count(0)
    rollback.focus()
    round_, _ = loop.rounds.request(1, "the test")
    expect(cancel).to_be_visible()
    expect(start).to_have_count(0)
    expect(rollback).to_be_focused()
    loop.rounds.cancel(round_.id)
    expect(start).to_be_visible()
    expect(cancel).to_have_count(0)


def test_a_button_by_keyboard(page: Page, loop: WatchedLoop) -> None:
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0001"}, {})
    page.get_by_role("link", name="Start a round").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Start a round?")).to_be_visible()
    page.get_by_role("button", name="Start a round").focus()
    page.keyboard.press("Enter")
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
    page.keyboard.press("u")
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
    page.keyboard.press("z")
    expect(said).to_contain_text("Taken back: 24 crops")
    expect(marked).to_have_count(2)
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    expect(said).to_contain_text("23 right, 1 wrong")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    crops.first.click()
    expect(marked).to_have_count(1)
    page.get_by_role("button", name="All right but 1").click()
    expect(page.get_by_text("Nothing sure any more")).to_be_visible()
    written = [row["lead_time"] for task in tasks for row in studio.tasks[task].get("annotations", ())]
    assert len(written) == 24 and all(0 < seconds < 20 for seconds in written)


def test_a_looks_results_arrive_by_themselves(page: Page, url: str, app: FastAPI) -> None:
    looks = [Look(True, "looking at 8 of 25 images", 8, 25), None]
    app.state.parts.looking.state = lambda project, version: looks[0]
    page.goto(f"{url}/label-errors?project=1")
    expect(page.get_by_text("looking at 8 of 25 images")).to_be_visible()
    looks.pop(0)
    expect(page.get_by_role("button", name="Look again")).to_be_visible()
    assert page.locator("#look[data-poll]").count() == 0
    del app.state.parts.looking.state


def test_without_scripts_it_is_all_there(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Rounds")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="Rounds")).to_be_visible()
    page.get_by_label("Project").select_option("2")
    page.get_by_role("button", name="Show").click()
    assert page.url.endswith("?project=2")
    start = page.get_by_role("link", name="Start a round")
    expect(start).to_be_disabled()
    expect(start).to_have_accessible_description(re.compile("Wait for the starting model"))
    page.goto(f"{url}/do/cancel?project=2")
    expect(page.get_by_text("No round is open; there is nothing to cancel.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the round")).to_have_count(0)
    context.close()


def test_an_ended_session_leads_to_the_login(browser: Browser, url: str, tmp_path: Path) -> None:
    page, _ = opened(browser, url)
    page.context.clear_cookies()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.close()
