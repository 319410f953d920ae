"""The dashboard's addresses, from its menu and its routes: a new page is tested without being listed."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from support.dashboard import routes

from labelloop.studio import Studio
from trainer.dashboard.app import create_app
from trainer.dashboard.buttons import BUTTONS
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.pages import NAVIGATION
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend

MENU = tuple(path for path, _ in NAVIGATION)
PAGES = (*MENU, "/glossary", "/compare", "/do/retrain", "/do/rollback")
"""Whole pages: those of the menu, and those that a link or a button of them leads to."""
OPEN = ("/health", "/login", "/logout", "/static/{path}", "/detect")
"""Paths of routes for people who have not logged in; /detect asks for a token instead."""
EXAMPLES = {
    "{round_id}": "1",
    "{image_id}": "1",
    "{format_name}": "coco",
    "{version}": "v0001",
    "{task}": "1",
    "{number}": "0",
    "{form}": "onnx",
}


def app_without_state() -> FastAPI:
    """The application on a folder that is not there, for the sake of its routes."""
    nowhere = "http://127.0.0.1:1"
    settings = TrainerSettings(labelloop_home=Path("/nonexistent"))
    return create_app(WatchedLoop(settings, Studio(nowhere, "t"), Backend(nowhere, "p")), "a secret")


def each_button(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Methods and paths, with a route for each button in place of /do/{name}."""
    return {
        (method, path.replace("{name}", name))
        for method, path in found
        for name in (BUTTONS if path == "/do/{name}" else ("",))
    }


def address(path: str) -> str:
    """A route's path with an example of each value in it."""
    for name, value in EXAMPLES.items():
        path = path.replace(name, value)
    assert "{" not in path, f"EXAMPLES has no value for {path}"
    return path


def guarded(method: str) -> list[str]:
    """An address of each route of a method that is for people who have logged in."""
    found = each_button(routes(app_without_state()))
    return sorted(address(path) for its, path in found if its == method and path not in OPEN)


def with_gaps(method: str) -> list[str]:
    """The path of each route of a method with `{}` for each value in it; besides, for each parameter of its
    query, that address with `?name={}`, where the path leaves one of the two gaps for it.
    """
    found: list[str] = []
    for path, methods in app_without_state().openapi()["paths"].items():
        route: dict[str, Any] | None = methods.get(method.lower())
        if route is not None:
            names = {where: _names(route, where) for where in ("path", "query")}
            for name in names["path"]:
                path = path.replace(f"{{{name}}}", "{}")
            found.append(path)
            if len(names["path"]) < 2:
                found += [f"{path}?{name}={{}}" for name in names["query"]]
    return found


def _names(route: dict[str, Any], where: str) -> list[str]:
    return [row["name"] for row in route.get("parameters", ()) if row["in"] == where]
