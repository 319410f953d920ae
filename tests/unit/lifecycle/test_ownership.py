"""Whose files they are after a `sudo make up`, and what another user reads who may not have them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle import files
from lifecycle.home import Home
from lifecycle.runtime.volumes import prepare_volumes
from lifecycle.settings import env_file, host, settings
from lifecycle.verbs import table as verbs

OWNER, GROUP = 4321, 4322
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def theirs(home: Home) -> Home:
    """Somebody's checkout, in which root works."""
    for path in (home.root, *home.root.rglob("*")):
        os.chown(path, OWNER, GROUP)
    return home


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


@as_root
def test_what_root_writes_stays_the_checkouts_owners(theirs: Home) -> None:
    settings.keep(theirs, {"DETECTOR": "yolox_s"})
    settings.complete(theirs, host_runtime=False, accelerator="cpu")
    assert owner(theirs.env_file) == owner(theirs.local_settings) == (OWNER, GROUP)
    written = env_file.read(theirs.env_file)
    assert (written["PUID"], written["PGID"]) == (str(OWNER), str(GROUP))


@as_root
def test_a_file_that_root_replaces_keeps_its_owner(theirs: Home) -> None:
    theirs.env_file.write_text("PORT=8080\n")
    os.chown(theirs.env_file, 99, 98)
    files.replace_text(theirs.env_file, "PORT=8081\n", 0o600)
    assert owner(theirs.env_file) == (99, 98)


@as_root
def test_a_checkout_of_roots_has_an_unprivileged_user(home: Home) -> None:
    settings.complete(home, host_runtime=False, accelerator="cpu")
    assert env_file.read(home.env_file)["PUID"] == str(host.UNPRIVILEGED_ID)


def refused(monkeypatch: pytest.MonkeyPatch, error: Callable[[Home], OSError]) -> None:
    def verb(home: Home, given: verbs.Given) -> None:
        raise error(home)

    monkeypatch.chdir(Path.cwd())
    monkeypatch.setitem(verbs.VERBS, "status", verbs.Verb(verb))
    assert verbs.main(["status"]) == 1


@as_root
def test_another_users_file_is_a_line_with_its_owner_and_the_way_out(
    theirs: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = theirs.root / "below" / ".env"
    refused(monkeypatch, lambda home: PermissionError(errno.EACCES, "Permission denied", str(path)))
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"FAIL  {path}: Permission denied: found {theirs.root} owned by user {OWNER}")
    assert f"`sudo chown -R 0:{os.getegid()} {theirs.root}`" in told and len(told.splitlines()) == 1


def test_what_the_system_refuses_is_a_line_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(monkeypatch, lambda home: OSError(errno.ENOSPC, "No space left on device", "volumes/x"))
    told = capsys.readouterr().err.strip()
    assert told.startswith("FAIL  volumes/x: No space left on device. ") and len(told.splitlines()) == 1


@as_root
def test_the_containers_may_add_to_roots_images_but_not_change_them(home: Home) -> None:
    images = home.volumes / "images"
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes(b"mine")
    prepare_volumes(home, (OWNER, GROUP))
    assert owner(images) == (OWNER, GROUP) and owner(images / "a.jpg")[0] == 0
    os.chown(images, 99, 98)
    prepare_volumes(home, (OWNER, GROUP))
    assert owner(images) == (99, 98), "somebody else's folder stays hers"


@as_root
def test_a_file_that_vanishes_while_the_state_is_handed_over_is_none(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's shared memory goes with the last program that has the database open."""
    vanishing = home.volumes / "rounds" / "rounds.sqlite3-shm"
    vanishing.parent.mkdir(parents=True)
    vanishing.write_bytes(b"")
    lstat = Path.lstat

    def gone(path: Path) -> os.stat_result:
        vanishing.unlink(missing_ok=True)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", gone)
    prepare_volumes(home, (OWNER, GROUP))
    assert owner(home.volumes / "rounds") == (OWNER, GROUP)
