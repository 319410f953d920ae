"""Pictures of how somebody is invited, signs up, and is shut out again, for docs/how-to/add-labellers.md."""

import re
from collections.abc import Callable

from playwright.sync_api import Page

ADDRESS = "bea@example.org"
PASSWORD = "shown to nobody 1"
# What the picture has in place of a link that somebody could use.
LINK = "http://localhost:8080/user/signup/?token=mJc…"

Shoot = Callable[[Page, str], None]


def labellers(page: Page, url: str, shoot: Shoot) -> None:
    """page: an administrator's, logged in at the Label Studio of `url`."""
    page.goto(f"{url}/organization")
    page.get_by_role("button", name="Invite new member").click()  # its name aloud; it reads Add Members
    field = page.locator("input[value*='/user/signup/']")
    link = field.input_value()
    field.evaluate("(input, shown) => { input.value = shown; }", LINK)
    shoot(page, "invite")
    sign_up(page, link, shoot)
    page.goto(f"{url}/admin/users/user/?q={ADDRESS}")
    page.get_by_role("link", name=ADDRESS).click()
    page.get_by_label("Active", exact=True).uncheck()
    page.get_by_label("Active", exact=True).evaluate(
        "mark => { mark.scrollIntoView({ block: 'center' }); scrollBy(0, 60); }"
    )
    shoot(page, "deactivate")


def sign_up(page: Page, link: str, shoot: Shoot) -> None:
    """In a browser of her own."""
    browser = page.context.browser
    assert browser is not None
    hers = browser.new_page(viewport=page.viewport_size)
    hers.goto(link)
    hers.fill("input[name=email]", ADDRESS)
    hers.fill("input[name=password]", PASSWORD)
    shoot(hers, "sign-up")
    hers.get_by_role("button", name="Create Account").click()
    hers.wait_for_url(re.compile(r"/(projects/?|)$"))
    hers.close()
