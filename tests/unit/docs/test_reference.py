"""The reference pages against what they describe."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from bench.options import Options
from starlette.routing import Mount
from support.backend_home import Home as BackendHome
from support.documents import PAGES, REPO, anchors, coded, linked_headings, links, rows

from labelloop import layout
from labelloop.registry import Card
from lifecycle.dev.simulate import OPTIONS
from lifecycle.home import Home
from lifecycle.settings import env_file, known, settings
from lifecycle.verbs.table import VERBS
from trainer.judging.cost_fit import FEWEST, MOST
from trainer.judging.effort import PAGE_TABLES, SOURCES, TABLES
from trainer.rounds import folder
from trainer.rounds.table import Round, State

REFERENCE = REPO / "docs" / "reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path = (page.parent / target).resolve()
        assert path.exists(), f"{page.name}: {target}"
    for target, anchor in linked_headings(page):
        assert anchor in anchors(target), f"{page.name}: {target.name}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = REPO / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in links(index)}
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - linked == {index}


def test_targets_are_the_makefiles() -> None:
    there = set(re.findall(r"^([a-z-]+):.*## ", (REPO / "Makefile").read_text(), re.MULTILINE))
    told = {words[5:] for cells in rows(REFERENCE / "targets.md") for words in coded(cells[0])}
    assert told == there


def test_targets_take_what_the_page_says() -> None:
    for cells in rows(REFERENCE / "targets.md"):
        named = re.findall(r"`([A-Z_0-9]+)=", cells[-1])
        for target in (words[5:] for words in coded(cells[0])):
            if target in VERBS:
                VERBS[target].check(target, dict.fromkeys(named, ""))


def test_targets_that_are_named_in_passing_exist() -> None:
    there = set(re.findall(r"^([a-z-]+):.*## ", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert named <= there


def test_the_tables_of_costs_are_those_that_are_used() -> None:
    page = REFERENCE / "costs.md"
    told = {words: cells for words, *cells in rows(page)}
    named = {
        "draw": "draw a box",
        "delete": "delete one",
        "click": "click on an object, so that a box appears",
    }
    for action in SOURCES:
        words = named.get(action) or next(name for name in told if f"(`{action}`)" in name)
        assert [float(cell) for cell in told[words][:2]] == [getattr(row, action) for row in TABLES.values()]
        title, _, figure = SOURCES[action].rpartition(": ")
        assert figure in told[words][2] and title.rpartition(", ")[2] in told[words][2]
    for action in ("glance", "mark", "page"):
        words = next(name for name in told if f"(`{action}`)" in name)
        costs = [getattr(row, action) for row in PAGE_TABLES.values()]
        assert [float(cell) for cell in told[words][:2]] == costs and told[words][2].startswith("assumed")
    assert f"With {FEWEST} such images or more" in page.read_text()
    assert f"of more than {MOST:,} images" in page.read_text()


@pytest.mark.parametrize(
    ("heading", "taken"),
    [
        ("With a simulated person", {"PREDICTED", "KEEP", "RECORD", *OPTIONS}),
        ("Against the alternatives", {name.upper() for name in Options.model_fields}),
    ],
)
def test_what_the_measurements_take(heading: str, taken: set[str]) -> None:
    page = REPO / "docs" / "how-to" / "measure-what-it-saves.md"
    told = {name for cells in rows(page, heading) for name in coded(cells[0]) if name.isupper()}
    assert told == taken


@pytest.fixture
def told_settings() -> dict[str, str]:
    """Name → the second cell of its row."""
    return {
        name: cells[1]
        for cells in rows(REFERENCE / "settings.md")
        for name in coded(cells[0])
        if name.isupper() or "_" in name
    }


def test_settings_are_those_that_are_read(
    told_settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = env_file.read(REPO / "configs" / "loop.env")
    home = Home(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "loop.env").write_text((REPO / "configs" / "loop.env").read_text())
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    settings.complete(home, host_runtime=True, accelerator="cpu")
    from_make = {n for c in rows(REFERENCE / "settings.md", "From make's environment") for n in coded(c[0])}
    named = set(known.HOST_SETTINGS) | set(known.GIVEN_SECRETS)
    expected = set(shipped) | set(env_file.read(home.env_file)) | named
    assert from_make and set(told_settings) - from_make == expected


def test_the_defaults_are_those_that_ship(told_settings: dict[str, str]) -> None:
    shipped = env_file.read(REPO / "configs" / "loop.env")
    assert {name: told_settings[name].strip("`") for name in shipped} == shipped


def test_the_cards_fields() -> None:
    told = [name for cells in rows(REFERENCE / "files.md", "card.json") for name in coded(cells[0])]
    assert sorted(told) == sorted(Card.model_fields)


def test_the_rounds_columns_and_states() -> None:
    table_rows = list(rows(REFERENCE / "files.md", "The table of rounds"))
    assert sorted(n for cells in table_rows for n in coded(cells[0])) == sorted(f.name for f in fields(Round))
    [states] = [coded(cells[1]) for cells in table_rows if coded(cells[0]) == ["state"]]
    assert states == [str(state) for state in State]


def test_a_rounds_files_and_the_volumes() -> None:
    text = (REFERENCE / "files.md").read_text()
    names = (
        folder.CLAIM,
        folder.SNAPSHOT,
        folder.JOB,
        folder.LOG,
        folder.METRICS,
        folder.LAST_CHECKPOINT,
        folder.CANDIDATE,
        folder.EVALUATION,
        folder.RETENTION,
    )
    for name in names:
        assert f"/{name}" in text, name
    told = {name for cells in rows(REFERENCE / "files.md", "volumes/") for name in coded(cells[0])}
    assert told == {f"{name}/" for name in (*layout.VOLUMES, layout.POSTGRES, "run")}


def told_routes(heading: str) -> set[tuple[str, str]]:
    return {
        (method, coded(cells[1])[0])
        for cells in rows(REFERENCE / "http-api.md", heading)
        if coded(cells[0])
        for method in coded(cells[0])
    }


def fastapi_routes(app: Any) -> set[tuple[str, str]]:
    paths = app.openapi()["paths"].items()
    found = {(method.upper(), path) for path, methods in paths for method in methods}
    return found | {("GET", f"{route.path}/{{path}}") for route in app.routes if isinstance(route, Mount)}


def test_the_trainers_routes(tmp_path: Path) -> None:
    from trainer.api.app import create_app
    from trainer.env import TrainerSettings

    app = create_app(TrainerSettings(labelloop_home=tmp_path), "a password")
    assert told_routes("The trainer's API") == fastapi_routes(app)


def test_the_dashboards_routes(tmp_path: Path) -> None:
    from labelloop.studio import Studio
    from trainer.dashboard.app import create_app
    from trainer.dashboard.loop import WatchedLoop
    from trainer.env import TrainerSettings
    from trainer.peers.backend import Backend

    nowhere = "http://127.0.0.1:1"
    loop = WatchedLoop(TrainerSettings(labelloop_home=tmp_path), Studio(nowhere, "t"), Backend(nowhere, "p"))
    assert told_routes("The dashboard") == fastapi_routes(create_app(loop, "a secret"))


def test_the_backends_routes(tmp_path: Path) -> None:
    home = BackendHome.below(tmp_path / "home", trainer_url="http://127.0.0.1:1")
    try:
        rules = home.client.application.url_map.iter_rules()
        found = {(m, rule.rule) for rule in rules for m in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    finally:
        home.stop.set()
    assert told_routes("The ML backend") == found
