"""Pages of a dashboard in a browser, logged in."""

from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import SHOWS_WITHIN_MS, loaded
from support.dashboard import EMAIL, PASSWORD

PHONE = {"width": 390, "height": 664}
"""What a phone's browser leaves of its screen."""


def opened(
    browser: Browser | BrowserContext, url: str, scheme: str = "light", width: int = 1280
) -> tuple[Page, list[str]]:
    """A logged-in page, loaded, and what it complains of from now on.

    A context brings its own scheme and width.
    """
    if isinstance(browser, Browser):
        page = browser.new_page(
            color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
        )
    else:
        page = browser.new_page()
    page.set_default_timeout(SHOWS_WITHIN_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    return loaded(page), complaints
