"""Debian's Chromium without a screen, and without calls of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

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

SHOWS_WITHIN_MS = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """While it runs, `expect` waits SHOWS_WITHIN_MS; playwright's own 5 s are short on a busy machine."""
    expect.set_options(timeout=SHOWS_WITHIN_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()
