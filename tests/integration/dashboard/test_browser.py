"""The dashboard in headless Chromium on made folders: what moves, moves."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from integration.support.dashboard_page import PHONE, opened
from playwright.sync_api import Browser, Page, expect
from support.dashboard import EMAIL, PASSWORD
from support.dashboard_pages import PAGES

from trainer.dashboard.looking import Look
from trainer.dashboard.loop import WatchedLoop
from trainer.rounds import heartbeat
from trainer.rounds.table import State

SERIOUS = ("serious", "critical")
ONE_LINE_PX = 56


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
    expect(page).to_have_url(re.compile("#term-hold-out$"))
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


def test_a_looks_results_arrive_by_themselves(
    page: Page, url: str, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [Look(True, "looking at 8 of 25 images", 8, 25), None]
    monkeypatch.setattr(app.state.parts.looking, "state", lambda project, version: looks[0])
    page.goto(f"{url}/label-errors?project=1")
    expect(page.get_by_text("looking at 8 of 25 images")).to_be_visible()
    looks.pop(0)
    expect(page.get_by_role("button", name="Look again")).to_be_visible()
    expect(page.locator("#look[data-poll]")).to_have_count(0)


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
    expect(page).to_have_url(re.compile(r"\?project=2$"))
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
