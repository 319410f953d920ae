import os
import stat
from pathlib import Path

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import env_file, known, secret_files, settings


@pytest.fixture
def published(home: Home) -> Home:
    """A checkout whose secrets are files."""
    settings.complete(home, host_runtime=True, accelerator="cpu")
    secret_files.publish(home, settings.load(home))
    return home


def values(home: Home) -> dict[str, str]:
    return {path.name: path.read_text() for path in home.secrets.iterdir()}


def test_each_secret_is_a_file_that_only_the_services_user_reads(published: Home) -> None:
    written = settings.load(published)
    assert values(published) == {
        **{name: written[name] for name in known.SECRETS},
        **dict.fromkeys(known.GIVEN_SECRETS, ""),
    }
    assert stat.S_IMODE(published.secrets.stat().st_mode) == 0o700
    for path in (published.secrets, *published.secrets.iterdir()):
        status = path.stat()
        assert str(status.st_uid) == written["PUID"] and str(status.st_gid) == written["PGID"]
        assert path.is_dir() or stat.S_IMODE(status.st_mode) == 0o400


def test_publishing_again_changes_nothing(published: Home) -> None:
    before = {path: path.stat().st_ino for path in published.secrets.iterdir()}
    env = published.env_file.read_text()
    secret_files.publish(published, settings.load(published))
    assert {path: path.stat().st_ino for path in published.secrets.iterdir()} == before
    assert published.env_file.read_text() == env


def test_a_changed_secret_changes_its_file_and_the_containers_label(published: Home) -> None:
    before = settings.load(published)
    env_file.update(published.env_file, {"DASHBOARD_SECRET": "another"}, header="", mode=0o600)
    secret_files.publish(published, settings.load(published))
    assert values(published)["DASHBOARD_SECRET"] == "another"
    assert values(published)["API_TOKEN"] == before["API_TOKEN"]
    assert settings.load(published)[secret_files.STAMP] != before[secret_files.STAMP]


def test_a_run_killed_before_the_stamp_is_made_up_for(published: Home) -> None:
    """Else containers that were started in between would keep the former secrets for good."""
    before = settings.load(published)
    after = {**before, "API_TOKEN": "f" * 40}
    secret_files._write(published.secrets, {name: after[name] for name in known.SECRETS}, None)
    env_file.update(published.env_file, {"API_TOKEN": "f" * 40}, header="", mode=0o600)
    secret_files.publish(published, settings.load(published))
    assert settings.load(published)[secret_files.STAMP] != before[secret_files.STAMP]


def test_leftovers_of_a_killed_run_go_and_lost_or_opened_files_are_mended(published: Home) -> None:
    expected = values(published)
    (published.secrets / ".API_TOKEN.x1y2").write_text("half")
    (published.secrets / "SECRET_KEY").unlink()
    (published.secrets / "API_TOKEN").chmod(0o644)
    published.secrets.chmod(0o755)
    secret_files.publish(published, settings.load(published))
    assert values(published) == expected
    assert stat.S_IMODE((published.secrets / "API_TOKEN").stat().st_mode) == 0o400
    assert stat.S_IMODE(published.secrets.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(home: Home) -> None:
    settings.complete(home, host_runtime=False, accelerator="cpu")
    home.run.mkdir(parents=True)
    home.secrets.write_text("a file")
    with pytest.raises(Failure, match=r"run/secrets: found .*exists.*sudo rm -r"):
        secret_files.publish(home, settings.load(home))


def test_the_host_runtimes_programs_have_no_secret_in_their_environment(
    published: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "from the shell of make")
    written = settings.load(published)
    environment = HostStack(published, written)._environment()
    assert not known.SECRETS.keys() & environment.keys()
    assert not [name for name in known.SECRETS if written[name] in environment.values()]
    assert Path(environment["SECRETS_DIR"]) == published.secrets
    assert environment["PATH"] == os.environ["PATH"] and environment["ADMIN_EMAIL"]
