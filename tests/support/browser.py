"""Debian's Chromium without a screen, and without calls of its own, and what tests do in it first."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SHOWS_WITHIN_MS = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """While it runs, `expect` waits SHOWS_WITHIN_MS; playwright's own 5 s are short on a busy machine."""
    expect.set_options(timeout=SHOWS_WITHIN_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


def loaded(page: Page) -> Page:
    """The page, once its style sheet, its scripts and its pictures are there.

    `goto` waits for these by itself. After a key, a click or a form that leads to another page, `expect` sees
    that page's words as soon as they arrive: before they are styled, and before a script hears keys.
    """
    page.wait_for_load_state()
    return page


def log_in_to_label_studio(page: Page, url: str, email: str, password: str) -> None:
    """By the form of the Label Studio at `url`; returns when the page behind it is loaded."""
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "/user/login" not in address)
