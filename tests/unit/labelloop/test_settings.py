from pathlib import Path

import pytest

from labelloop.settings import MissingSecret, Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("API_TOKEN", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_secret_is_read_from_the_file_of_its_name(folder: Path) -> None:
    (folder / "API_TOKEN").write_text("t0ken\n")
    settings = Settings()
    assert settings.secret("api_token") == "t0ken"
    assert "t0ken" not in repr(settings)


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "API_TOKEN").write_text("of the file")
    monkeypatch.setenv("API_TOKEN", "of the environment")
    assert Settings().secret("api_token") == "of the environment"


def test_a_secret_that_is_nowhere_is_named(folder: Path) -> None:
    with pytest.raises(MissingSecret, match="SECRET_KEY is not set, nor a file of SECRETS_DIR"):
        Settings().secret("secret_key")


def test_admins_are_addresses_whatever_their_case_and_blanks() -> None:
    assert Settings(admins="Ann@x.org, bob@y.org,").admin_addresses == {"ann@x.org", "bob@y.org"}
    assert Settings(admins="").admin_addresses == frozenset()
