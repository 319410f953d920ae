"""What can't read labelloop.layout says the same: docker-compose.yml, Dockerfiles, gunicorn's settings."""

import re
from pathlib import Path

import pytest

from labelloop import layout
from lifecycle.home import Home
from lifecycle.settings.settings import Settings

REPO = Path(__file__).parents[3]
COMPOSE = (REPO / "docker-compose.yml").read_text()
LISTENS = {
    "labelstudio": {layout.LABELSTUDIO_PORT},
    "mlbackend": {layout.MLBACKEND_PORT},
    "trainer": {layout.TRAINER_PORT, layout.DASHBOARD_PORT},
}


def numbers(pattern: str, text: str) -> set[int]:
    return {int(found) for found in re.findall(pattern, text)}


@pytest.mark.parametrize("image", LISTENS)
def test_an_image_exposes_what_its_programs_listen_on(image: str) -> None:
    text = (REPO / "images" / image / "Dockerfile").read_text()
    [exposed] = re.findall(r"^EXPOSE (.+)$", text, re.MULTILINE)
    assert {int(port) for port in exposed.split()} == LISTENS[image]
    assert numbers(r"_BIND=0\.0\.0\.0:(\d+)", text) == LISTENS[image]


@pytest.mark.parametrize("service", ["labelstudio", "mlbackend"])
def test_gunicorn_listens_there_by_default(service: str) -> None:
    text = (REPO / "configs" / "gunicorn" / f"{service}.py").read_text()
    assert numbers(r'_BIND", "[\d.]+:(\d+)"', text) == LISTENS[service]


def test_compose_publishes_label_studio_and_the_dashboard() -> None:
    published = re.findall(r"\$\{(\w*PORT):-(\d+)\}:(\d+)", COMPOSE)
    assert [(name, int(outer), int(inner)) for name, outer, inner in published] == [
        ("PORT", layout.LABELSTUDIO_PORT, layout.LABELSTUDIO_PORT),
        ("DASHBOARD_PORT", Settings({}).dashboard_port, layout.DASHBOARD_PORT),
    ]
    assert numbers(r"LABELSTUDIO_PORT: \$\{PORT:-(\d+)\}", COMPOSE) == {layout.LABELSTUDIO_PORT}


def test_compose_mounts_the_folders_of_the_layout() -> None:
    mounted = re.findall(r"- \./volumes/([\w/]+):/labelloop/volumes/\1(?::ro)?$", COMPOSE, re.MULTILINE)
    assert set(mounted) == {*layout.VOLUMES, layout.UPLOADS, layout.IMAGE_CACHE, layout.BACKUP_STATUS}
    assert COMPOSE.count("./volumes/") == len(mounted)


def test_the_repository_has_a_folder_for_each_and_no_other() -> None:
    kept = {path.parent.name for path in (REPO / "volumes").glob("*/.gitkeep")}
    assert kept == set(layout.VOLUMES)
    assert Home(REPO).backup_status.parent == REPO / "volumes" / layout.BACKUP_STATUS


def test_the_trainer_writes_the_databases_that_a_backup_copies() -> None:
    sources = "".join(path.read_text() for path in (REPO / "images" / "trainer").rglob("*.py"))
    for name in (layout.ROUNDS_FILE, layout.IMAGE_INDEX_FILE):
        assert f'/ "{name}"' in sources


NUMBERS = ("8080", "8081", "9090", "9191", "9292")


def test_no_program_of_ours_names_a_port_of_its_own() -> None:
    sources = [path for top in ("images", "compose") for path in (REPO / top).rglob("*.py")]
    naming = {
        path.name
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(re.search(rf"(?<![\w>`]){number}(?![\w`])", line) for number in NUMBERS)
        and "`http://" not in line
        and ">>>" not in line
    }
    assert naming == {"layout.py"}
