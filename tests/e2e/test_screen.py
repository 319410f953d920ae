"""What a person sees: headless Chromium on the stack that test_loop.py has brought to v0001."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import chromium, log_in_to_label_studio
from support.stack import Stack, wait_for


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Logged in with the password of .env."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(60_000)
    env = stack.env()
    log_in_to_label_studio(opened, stack.url, env["ADMIN_EMAIL"], env["ADMIN_PASSWORD"])
    yield opened


def shown_regions(page: Page) -> list[dict[str, Any]]:
    """Label and score of the boxes on the editor's canvas."""
    found = page.evaluate(
        """() => {
            const annotation = window.Htx?.annotationStore?.selected;
            return annotation ? annotation.regionStore.regions.map(r => ({label: r.labels[0], score:
            r.score})) : [];
        }"""
    )
    return list(found)


def test_the_login_opens_the_provisioned_project(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/projects/1/data")
    expect(page.get_by_text("labelloop").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"Tasks: \d+ / \d+"))).to_be_visible()


def test_the_proposed_boxes_are_on_the_canvas(page: Page, stack: Stack, tmp_path: Path) -> None:
    """Opens an unlabelled task in the editor: the champion's boxes are there, without a click."""
    task = next(
        task_id
        for task_id, rows in stack.predictions().items()
        if rows[-1]["model_version"] == "v0001" and len(rows[-1]["result"]) >= 2
    )
    proposed = stack.predictions()[task][-1]["result"]
    page.goto(f"{stack.url}/projects/1/data?task={task}")
    labels = sorted(result["value"]["rectanglelabels"][0] for result in proposed)
    wait_for(
        f"boxes on the canvas with the labels {labels}",
        lambda: sorted(region["label"] for region in shown_regions(page)) == labels,
        60,
    )
    page.screenshot(path=tmp_path / "boxes.png")


def test_the_start_training_button_opens_a_round(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/projects/1/settings/ml")
    card = page.get_by_text("Connected", exact=True).locator("xpath=ancestor::*[.//button][1]")
    card.get_by_role("button").click()
    page.get_by_text("Start Training", exact=True).click()
    page.get_by_role("button", name="Start Training").click()

    def open_round() -> bool:
        return (
            re.search(
                r"requested|snapshotting|training|evaluating",
                stack.run("status", check=False),
            )
            is not None
        )

    wait_for("an open round in `make status`", open_round, 60, every=3)
    stack.run("cancel")
    wait_for("the round to end", lambda: not open_round(), 120, every=3)
    provisioned = json.loads((stack.home / "volumes/labelstudio/provisioned.json").read_text())
    assert provisioned["done"] is True
