"""`make demo`: the loop once with made pictures, in a project of its own; brings the stack up first."""

from __future__ import annotations

from collections.abc import Mapping

from lifecycle import exclusion
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes
from lifecycle.verbs.up import up


def demo(home: Home, given: Mapping[str, str]) -> None:
    """Runs the demo, or with REMOVE=1 removes it.

    Raises:
        Failure: the stack does not start.
    """
    if "trainer" not in running_stack(home, settings_module.load(home)).states():
        with exclusion.operation(home, "demo"):
            up(home, {})
    settings = settings_module.load(home)
    places = [f"--studio={settings.labelstudio_url}", f"--dashboard={settings.dashboard_url}"]
    images = [f"--images={given['IMAGES']}"] if "IMAGES" in given else []
    removing = ["--remove"] if is_yes(given, "REMOVE") else []
    running_stack(home, settings).labelloop(["demo", *places, *images, *removing], None)
