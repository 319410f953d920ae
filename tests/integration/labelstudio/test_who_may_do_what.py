"""Every route and method of Label Studio, asked by a labeller: what she is refused is what the page says."""

import json
import re
from collections.abc import Iterator

import pytest
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, labeller
from support.documents import REPO, coded, rows

from provisioner import routes

PAGE = REPO / "docs" / "reference" / "who-may-do-what.md"
MANY = 250
ROUTES = """
import json, re
from provisioner import django_app
django_app.setup()
from django.urls import Resolver404, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator
from provisioner.routes import path_of

def entries(patterns, before=""):
    for entry in patterns:
        here = before + str(entry.pattern)
        if hasattr(entry, "url_patterns"):
            yield from entries(entry.url_patterns, here)
        else:
            yield path_of(here), methods(entry.callback)

def methods(view):
    kind = getattr(view, "cls", None)
    if kind is None:
        return ["GET", "POST"]
    taken = getattr(view, "actions", None) or [name for name in kind.http_method_names if hasattr(kind, name)]
    return sorted(name.upper() for name in taken if name not in ("head", "options"))

def answers(path):
    # Label Studio's pattern of /version/ matches wherever it ends a path, so some routes are never reached.
    try:
        return path_of(resolve(re.sub(r"<\\w+>", "1", path)).route) == path
    except Resolver404:
        return False

patterns = [(path, names) for path, names in entries(get_resolver().url_patterns) if answers(path)]
asked = {(method, path) for path, names in patterns for method in names}
schema = SchemaGenerator().get_schema(public=True)["paths"]
described = {(name.upper(), path) for path, names in schema.items() for name in names if name != "parameters"}
print("ROUTES" + json.dumps([sorted(asked), sorted(described)]))
"""

Route = tuple[str, str]


@pytest.fixture(scope="module")
def found(provisioned: LabelStudio) -> tuple[set[Route], set[Route]]:
    """(method, path) of all that can be asked, and of what Label Studio's OpenAPI describes."""
    told = provisioned.run_program(ROUTES, timeout=120).split("ROUTES")[1]
    asked, described = ({(method, path) for method, path in one} for one in json.loads(told))
    return asked, described


@pytest.fixture(scope="module")
def ann(provisioned: LabelStudio) -> Person:
    return labeller(provisioned, "ann.routes@example.org")


def told(heading: str) -> Iterator[Route]:
    """(method, path) of the page's rows: paths in the second cell, methods in the third."""
    for cells in rows(PAGE, heading):
        for path in coded(cells[1]):
            yield from ((method, path) for method in coded(cells[2]))


LABELLERS = set(told("Labellers"))
ADMINISTRATORS = [(method, path.replace("…", ".*")) for method, path in told("Administrators")]


def is_for_administrators(route: Route) -> bool:
    return any(method == route[0] and re.fullmatch(path, route[1]) for method, path in ADMINISTRATORS)


def test_the_page_says_of_every_route_who_may_use_it(found: tuple[set[Route], set[Route]]) -> None:
    asked, described = found
    assert len(asked) > MANY and len(described) > MANY // 2
    guarded = {route for route in asked if route[1] not in routes.OPEN}
    unknown = {route for route in guarded if route not in LABELLERS and not is_for_administrators(route)}
    assert unknown == set(), "no row of docs/reference/who-may-do-what.md"
    assert {route for route in LABELLERS if is_for_administrators(route)} == set()
    assert {(method, re.sub(r"{\w+}", "<>", path)) for method, path in described} <= {
        (method, re.sub(r"<\w+>", "<>", path)) for method, path in asked
    }


def test_the_table_is_the_pages(found: tuple[set[Route], set[Route]]) -> None:
    table = {(method, path) for path, methods in routes.LABELLERS.items() for method in methods}
    assert table == LABELLERS
    assert table <= found[0], "a route that Label Studio no longer has"
    told_open = {path for cells in rows(PAGE, "Everybody") for path in coded(cells[1])}
    assert told_open == set(routes.OPEN) <= {path for _, path in found[0]}


def test_a_labeller_is_refused_at_every_other_route(
    found: tuple[set[Route], set[Route]], ann: Person
) -> None:
    wrong = []
    for method, path in sorted(found[0]):
        if path in routes.OPEN:
            continue
        answer = ann.ask(method, re.sub(r"<\w+>", "1", path), json={})
        refused = answer.status_code == 403 and "Only an administrator may do this" in answer.text
        if refused == ((method, path) in LABELLERS):
            wrong.append(f"{method} {path}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
