"""The dashboard in headless Chromium on made folders: what moves, moves; buttons work by keyboard."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect
from support.browser import chromium
from support.dashboard import EMAIL, PASSWORD, Login
from support.dashboard_data import Guesser, finished_round, label_in, snapshot_of
from support.dashboard_pages import PAGES
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.versions import add_version

from labelloop.files import write_text
from labelloop.studio import Studio
from trainer.dashboard import predictions
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


@pytest.fixture(scope="module")
def studio() -> FakeStudio:
    return FakeStudio()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, studio: FakeStudio) -> Iterator[WatchedLoop]:
    """Project 1 after one round."""
    home = tmp_path_factory.mktemp("home")
    backend = FakeBackend()
    studio.add_project()
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
        Survey(1, datetime.now(UTC), "", LEFT_OUT, ("2 images taught that nothing is there",)).write(
            settings.rounds_dir
        )
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


def opened(browser: Browser, url: str, scheme: str = "light", width: int = 1280) -> tuple[Page, list[str]]:
    """A logged-in page, and what it complains of from now on."""
    page = browser.new_page(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
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
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
        assert broken == 0, path
    page.close()
    assert complaints == []


def test_a_rounds_progress_arrives_by_itself_and_is_announced_once(page: Page, loop: WatchedLoop) -> None:
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
    expect(page.get_by_text("the log's last words")).to_be_visible()
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
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Project").select_option("2")
    page.get_by_role("button", name="Show").click()
    assert page.url.endswith("?project=2")
    page.get_by_role("link", name="Cancel the round").click()
    page.get_by_role("button", name="Cancel the round").click()
    expect(page.get_by_text("No round is open; there is nothing to cancel.")).to_be_visible()
    context.close()


def test_an_ended_session_leads_to_the_login(browser: Browser, url: str, tmp_path: Path) -> None:
    page, _ = opened(browser, url)
    page.context.clear_cookies()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.close()
