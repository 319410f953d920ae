"""`make demo`: the loop once with made pictures, in a project of its own; brings the stack up first."""

from __future__ import annotations

from collections.abc import Mapping

from lifecycle import exclusion
from lifecycle import settings as settings_module
from lifecycle.home import Home
from lifecycle.runtime import running_stack
from lifecycle.settings import browser_url
from lifecycle.up import up


def demo(home: Home, given: Mapping[str, str]) -> None:
    """Runs the demo, or with REMOVE=1 removes it.

    Raises:
        Failure: the stack does not start.
    """
    if "trainer" not in running_stack(home, settings_module.load(home)).states():
        with exclusion.operation(home, "demo"):
            up(home, {})
    settings = settings_module.load(home)
    places = [
        f"--studio={browser_url(settings, 'PORT')}",
        f"--dashboard={browser_url(settings, 'DASHBOARD_PORT')}",
    ]
    images = [f"--images={given['IMAGES']}"] if "IMAGES" in given else []
    removing = ["--remove"] if given.get("REMOVE", "0") != "0" else []
    running_stack(home, settings).labelloop(["demo", *places, *images, *removing], None)
