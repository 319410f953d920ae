"""`make move-database` through its verb, with stacks that only pretend; the copy itself is in
tests/integration/labelstudio/test_postgres.py.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from support import kept

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime import orphans
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import env_file, known
from lifecycle.settings.settings import Settings
from lifecycle.verbs import move_database as module
from lifecycle.verbs.move_database import move_database

STEPS = ("build", "stop", "archive", "copy", "up")
WITH_URL = {"DATABASE_URL": "postgresql://labels@db.lan/labels"}


class Killed(BaseException):
    """As Ctrl-C, or whatever ends a process at a step."""


class Steps:
    """Notes the steps, and what .env says of the database at each. fail_at, error: where it ends, by what."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.stack = kept.PretendedStack(home)
        self.seen: list[tuple[str, str]] = []
        self.target: Settings | None = None
        self.told_to_compose: dict[str, str | None] = {}
        self.fail_at = ""
        self.error: BaseException = Killed()

    def step(self, name: str) -> None:
        self.seen.append((name, env_file.read(self.home.env_file).get("DATABASE", "sqlite")))
        if name == self.fail_at:
            raise self.error

    def build(self, home: Home) -> bool:
        self.step("build")
        return True

    def stop(self, home: Home) -> bool:
        self.step("stop")
        self.stack.stop()
        return True

    def archive(self, home: Home, stack: Any) -> Path:
        self.step("archive")
        return home.backups / "labelloop-1.tar.gz"

    def move_database(self) -> dict[str, int]:
        self.told_to_compose = {name: os.environ.get(name) for name in ("COMPOSE_FILE", "DATABASE_URL")}
        self.step("copy")
        return {"rows": 9, "tables": 3, "annotations": 3}

    def stack_on(self, home: Home, settings: Settings) -> "Steps":
        self.target = settings
        return self

    def up(self, home: Home, given: dict[str, str]) -> None:
        self.step("up")


@pytest.fixture
def steps(home: Home, monkeypatch: pytest.MonkeyPatch) -> Steps:
    kept.fill(home)
    made = Steps(home)
    names = {"build_ahead": made.build, "stop": made.stop, "write_archive": made.archive, "up": made.up}
    for name, double in {**names, "_stack_on": made.stack_on, "_present": lambda home: made.stack}.items():
        monkeypatch.setattr(module, name, double)
    return made


@pytest.mark.parametrize("given", [{}, WITH_URL])
def test_the_switch_is_the_last_step_before_the_start(
    home: Home, steps: Steps, given: dict[str, str]
) -> None:
    before = home.database.read_bytes()
    move_database(home, given)
    assert steps.seen == [(name, "postgres" if name == "up" else "sqlite") for name in STEPS]
    written = env_file.read(home.env_file)
    assert written[known.LAST_DATABASE] == "postgres"
    assert written["DATABASE_URL"] == given.get("DATABASE_URL", "")
    assert steps.target is not None and steps.target.on_postgres
    assert steps.target.own_postgres == (not given)
    assert home.database.read_bytes() == before, "SQLite's file is kept"


@pytest.mark.parametrize("step", STEPS[:-1])
@pytest.mark.parametrize("error", [Killed(), Failure("something", do="Mend it.")])
def test_ended_anywhere_before_the_switch_it_is_on_sqlite_and_what_ran_runs(
    home: Home, steps: Steps, step: str, error: BaseException
) -> None:
    env = home.env_file.read_text()
    steps.fail_at, steps.error = step, error
    with pytest.raises(type(error)):
        move_database(home, {})
    assert home.env_file.read_text() == env
    assert steps.stack.running
    steps.fail_at = ""
    move_database(home, {})
    assert env_file.read(home.env_file)[known.LAST_DATABASE] == "postgres"


def test_a_setting_that_asked_for_it_already_is_taken_as_the_target(home: Home, steps: Steps) -> None:
    env_file.update(home.env_file, WITH_URL, header="", mode=0o600)
    move_database(home, {})
    assert steps.seen[0] == ("build", "sqlite")
    assert env_file.read(home.env_file)["DATABASE_URL"] == WITH_URL["DATABASE_URL"]


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_setting_that_asked_for_it_stays_where_the_move_fails(home: Home, steps: Steps, step: str) -> None:
    """The next attempt would go to a PostgreSQL of the stack's own otherwise."""
    env_file.update(home.env_file, WITH_URL, header="", mode=0o600)
    steps.fail_at, steps.error = step, Failure("that server is away")
    with pytest.raises(Failure, match="that server is away"):
        move_database(home, {})
    assert steps.seen[-1] == (step, "sqlite") and steps.stack.running
    assert env_file.read(home.env_file)["DATABASE_URL"] == WITH_URL["DATABASE_URL"]
    steps.fail_at = ""
    move_database(home, {})
    assert steps.target is not None and not steps.target.own_postgres


def test_what_is_on_postgresql_already_or_nowhere_is_refused(home: Home, steps: Steps) -> None:
    env_file.update(home.env_file, {known.LAST_DATABASE: "postgres"}, header="", mode=0o600)
    with pytest.raises(Failure, match="on PostgreSQL already"):
        move_database(home, {})
    env_file.update(home.env_file, {known.LAST_DATABASE: "sqlite"}, header="", mode=0o600)
    home.database.unlink()
    with pytest.raises(Failure, match="`make up DATABASE=postgres` begins on it"):
        move_database(home, {})
    assert not steps.seen


def test_on_the_host_the_copy_goes_to_the_port_that_the_server_will_have(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another PostgreSQL of the host, such as the package's own, may have the usual one."""
    kept.fill(home)
    checked: list[str] = []
    monkeypatch.setattr(module, "choose_runtime", lambda settings: "host")
    monkeypatch.setattr(module.network, "free_port", lambda first: first + 7)

    def database(home: Home, settings: Settings, *, running: bool) -> str:
        checked.append(settings.database_url())
        return ""

    monkeypatch.setattr(module.checks, "database", database)
    stack = module._stack_on(home, Settings({"DATABASE": "postgres"}))
    assert env_file.read(home.env_file)["DATABASE_PORT"] == "5439"
    assert checked == ["postgresql://labelloop@127.0.0.1:5439/labelloop?sslmode=disable"]
    assert isinstance(stack, HostStack)
    assert stack._environment()["DATABASE_URL"] == checked[0]


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ({}, "docker-compose.yml:compose/postgres.yml"),
        (WITH_URL, "docker-compose.yml:compose/database-url.yml"),
    ],
)
def test_compose_makes_the_copy_by_the_files_that_the_stack_will_have_and_forgets_them_then(
    home: Home, steps: Steps, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], files: str
) -> None:
    """.env, which says otherwise until the switch, starts what ran when the copy fails."""
    monkeypatch.setenv("COMPOSE_FILE", "docker-compose.yml")
    steps.fail_at = "copy"
    with pytest.raises(Killed):
        move_database(home, given)
    assert steps.told_to_compose == {"COMPOSE_FILE": files, "DATABASE_URL": given.get("DATABASE_URL", "")}
    assert os.environ["COMPOSE_FILE"] == "docker-compose.yml" and "DATABASE_URL" not in os.environ


def test_on_docker_the_folder_is_the_containers_and_the_images_are_those_of_make_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker itself would make the folder as root, whose the server isn't."""
    made: list[tuple[Any, ...]] = []
    kept.fill(home)
    monkeypatch.setattr(module, "choose_runtime", lambda settings: "docker")
    monkeypatch.setattr(module.images, "build_images", lambda *given, **more: made.append((*given[1:], more)))
    monkeypatch.setattr(
        module.volumes, "prepare_volumes", lambda home, user, *, postgres: made.append((user, postgres))
    )
    on_cuda = {"ACCELERATOR": "cuda", "TORCH_CUDA_ARCH_LIST": "9.0", "REGISTRY": "127.0.0.1:5000/labels"}
    module._stack_on(home, Settings({"DATABASE": "postgres", "PUID": "7", "PGID": "8", **on_cuda}))
    assert made == [("cuda", "9.0", "127.0.0.1:5000/labels", {"postgres": True}), ((7, 8), True)]


def test_a_server_that_a_killed_attempt_left_is_in_nobodys_way(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the port until the stop, which ends it. Of a stack that runs, no such server is left."""
    kept.fill(home)
    looked: list[bool] = []
    monkeypatch.setattr(module, "choose_runtime", lambda settings: "host")
    monkeypatch.setattr(
        module.checks, "database", lambda home, settings, *, running: looked.append(running) or ""
    )
    there: list[int] = []
    monkeypatch.setattr(orphans, "find", lambda folder: there)
    asked = Settings({"DATABASE": "postgres", "DATABASE_PORT": "5439"})
    for left, runs in (([], False), ([4711], False), ([4711], True)):
        there[:] = left
        monkeypatch.setattr(HostStack, "is_running", lambda stack, runs=runs: runs)
        module._stack_on(home, asked)
    assert looked == [False, True, False]
