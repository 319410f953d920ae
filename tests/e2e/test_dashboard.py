"""The dashboard in headless Chromium, on the stack that test_loop.py has brought to v0001: it says what Label
Studio and the files say, and its buttons do what they say.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import chromium, loaded
from support.dashboard_pages import PAGES
from support.stack import Stack, wait_for
from support.unpredicted import without_prediction_of

from labelloop.registry import ProjectModels, Registry
from labelloop.task_filters import LABELLED, UNLABELLED
from trainer.judging.standing import NOT_YET

SERIOUS = ("serious", "critical")
STEP_MS = 90_000
SCORED_WITHIN_S = 300
PROGRESS = "document.querySelector('#progress')?.value ?? 0"
ROUNDS = "select id, state, verdict, error from rounds where project = 1 order by id"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.env()['DASHBOARD_PORT']}"


@pytest.fixture(scope="module")
def context(browser: Browser, stack: Stack, url: str) -> BrowserContext:
    """Logged in with Label Studio's name and password."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(STEP_MS)
    page, env = made.new_page(), stack.env()
    page.goto(f"{url}/rounds?project=1")
    page.get_by_label("E-mail address").fill(env["ADMIN_EMAIL"])
    page.get_by_label("Password").fill(env["ADMIN_PASSWORD"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Rounds")).to_be_visible()
    loaded(page).close()
    return made


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page without a complaint: of scripts, of the content policy, of what it asks for."""
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
    yield opened
    opened.close()
    assert complaints == []


@pytest.fixture
def models(stack: Stack) -> ProjectModels:
    return Registry(stack.home / "volumes" / "models").project(1)


def figures(page: Page) -> dict[str, str]:
    """What Now says of the model and the images."""
    return {
        name: page.locator(f"#{name}").inner_text() for name in ("champion", "tasks", "labelled", "waiting")
    }


def rows(page: Page) -> list[list[str]]:
    """The table of rounds. Times are in the reader's zone, which is UTC here, and in UTC in the report."""
    found = page.locator("tr[id^=round-]").all()
    return [[cell.inner_text().replace(" UTC", "") for cell in row.locator("th, td").all()] for row in found]


def every_model_is_scored(page: Page, url: str) -> bool:
    """On today's hold-out, in the background: a round that was cancelled may have given a new one."""
    page.goto(f"{url}/rounds?project=1")
    return NOT_YET not in page.locator("main").inner_text()


def rounds(stack: Stack) -> list[list[Any]]:
    return stack.query("trainer", "rounds/rounds.sqlite3", ROUNDS)


def press(page: Page, url: str, button: str) -> None:
    """A button of the first page, and its confirmation."""
    page.goto(f"{url}/?project=1")
    page.get_by_role("link", name=button).click()
    page.get_by_role("button", name=button).click()


def everything_wrong(page: Page) -> list[str]:
    """Axe's serious findings, what lies beyond the edge, and pictures that did not come."""
    found = [
        f"{rule['id']}: {rule['help']}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in SERIOUS
    ]
    if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        found.append("wider than the window")
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    return found + [f"broken: {source[:80]}" for source in broken]


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_sound(page: Page, url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in PAGES:
        page.goto(f"{url}{path}?project=1")
        assert everything_wrong(page) == [], path


def test_it_says_what_label_studio_and_the_files_say(
    page: Page, url: str, stack: Stack, models: ProjectModels
) -> None:
    studio, champion = stack.studio(), models.champion()
    assert champion is not None
    page.goto(f"{url}/?project=1")
    assert figures(page) == {
        "champion": champion,
        "tasks": str(studio.count_tasks(1)),
        "labelled": str(studio.count_tasks(1, LABELLED)),
        "waiting": str(studio.count_tasks(1, UNLABELLED)),
    }
    metrics = models.card(champion).metrics
    expect(page.locator("#now-map")).to_contain_text(f"{metrics['mAP']:.3f} ", timeout=SCORED_WITHIN_S * 1000)
    newest = rounds(stack)[-1][0]  # nothing was labelled since round 1
    expect(page.locator("#now-map")).to_contain_text(f"on {metrics['images']} images, of round {newest}")
    page.goto(f"{url}/model?project=1")
    expect(page.locator("#model-map")).to_contain_text(f"{metrics['mAP']:.3f} ")
    for label, score in metrics["per_class"].items():
        row = page.get_by_role("region", name="Scores by label").get_by_role("row", name=label)
        expect(row).to_contain_text(f"{score:.3f}")
    page.goto(f"{url}/rounds?project=1")
    shown, held = rows(page), rounds(stack)
    assert [row[0].split()[:2] for row in shown] == [[str(id_), state] for id_, state, *_ in reversed(held)]
    assert [row[-1] for row in shown] == [verdict or error or "" for *_, verdict, error in reversed(held)]


def test_a_round_by_button_is_shown_live_and_cancelled(page: Page, url: str, stack: Stack) -> None:
    press(page, url, "Start a round")
    expect(page.get_by_text(re.compile(r"Round \d+ requested\."))).to_be_visible()
    number = rounds(stack)[-1][0]
    expect(page.get_by_role("heading", name=f"Round {number}: training")).to_be_visible(timeout=STEP_MS)
    before = wait_for("progress", lambda: page.evaluate(PROGRESS), STEP_MS / 1000)
    wait_for("more of it", lambda: page.evaluate(PROGRESS) > before, STEP_MS / 1000)
    expect(page.locator("#loss img")).to_be_visible(timeout=STEP_MS)
    page.get_by_role("link", name="Cancel the round").click()
    page.get_by_role("button", name="Cancel the round").click()
    expect(page.get_by_role("heading", name=f"Round {number}: cancelled")).to_be_visible(timeout=STEP_MS)
    assert rounds(stack)[-1][:2] == [number, "cancelled"]


def test_back_to_the_starting_model_and_forth(
    page: Page, url: str, stack: Stack, models: ProjectModels
) -> None:
    studio, before = stack.studio(), models.champion()
    assert before is not None and before != "v0000"

    def put_into_service(version: str) -> None:
        page.goto(f"{url}/do/rollback?project=1")
        page.get_by_label("Version").select_option(version)
        page.get_by_role("button", name="Roll back").click()
        expect(page.locator("#champion")).to_have_text(version)
        assert models.champion() == version
        wait_for(
            f"Label Studio to show {version}",
            lambda: (
                studio.project(1)["model_version"] == version
                and not studio.count_tasks(1, UNLABELLED, without_prediction_of(version))
            ),
            180,
        )

    put_into_service("v0000")
    put_into_service(before)


def test_what_is_taken_home_is_whole(page: Page, url: str, stack: Stack, models: ProjectModels) -> None:
    page.goto(f"{url}/downloads?project=1")
    links = [str(link.get_attribute("href")) for link in page.locator("a[download]").all()]
    version = next(link for link in links if "/v0001.zip" in link)
    datasets = [
        next(link for link in links if f"/1/dataset-{kind}.zip" in link) for kind in ("coco", "yolo", "voc")
    ]
    for link in (version, *datasets):
        archive = zipfile.ZipFile(io.BytesIO(page.request.get(url + link).body()))
        assert archive.testzip() is None
        names = archive.namelist()
        if link == version:
            assert archive.read("v0001/card.json") == (models.folder("v0001") / "card.json").read_bytes()
        else:
            pictures = [name for name in names if name.endswith((".png", ".jpg"))]
            snapshot = json.loads((stack.home / "volumes/rounds/00001/snapshot.json").read_bytes())
            assert len(pictures) == len(snapshot["images"])


def test_the_report_says_the_same_without_a_network(
    browser: Browser, page: Page, url: str, stack: Stack, tmp_path: Path
) -> None:
    wait_for("today's scores", lambda: every_model_is_scored(page, url), SCORED_WITHIN_S)
    assert "volumes/rounds/reports/e2e.html" in stack.run("report", FILE="e2e.html")
    page.goto(f"{url}/?project=1")
    shown = figures(page)
    page.goto(f"{url}/rounds?project=1")
    table = rows(page)
    page.goto(f"{url}/label-errors?project=1")  # the report has had the model look at the labels
    expect(page.get_by_role("button", name="Look at the images")).to_have_count(0)
    offline = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    report = offline.new_page()
    asked: list[str] = []
    report.on("request", lambda request: asked.append(request.url))
    path = stack.home / "volumes" / "rounds" / "reports" / "e2e.html"
    for width in (1280, 390):
        report.set_viewport_size({"width": width, "height": 900})
        report.goto(path.as_uri())
        assert everything_wrong(report) == []
    assert [address for address in asked if not address.startswith("data:")] == [path.as_uri()] * 2
    report.set_viewport_size({"width": 1280, "height": 900})
    assert (figures(report), rows(report)) == (shown, table)
    assert path.stat().st_size < 5_000_000
    secrets = [value for name, value in stack.env().items() if re.search("PASSWORD|TOKEN|SECRET", name)]
    text = path.read_text()
    assert secrets and not any(secret in text for secret in secrets)
    report.pdf(path=tmp_path / "report.pdf")
    offline.close()
