from pathlib import Path

import pytest

from labelloop.database_place import DatabaseAccess, DatabasePlace


def test_a_url_is_read_and_written_the_same() -> None:
    for url in (
        "postgresql://ann@db.lan:5433/labels?sslmode=verify-full",
        "postgresql://labelloop@127.0.0.1:5432/labelloop",
    ):
        assert str(DatabasePlace.parse(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann@db/labels",
        "postgresql://db/labels",
        "postgresql://ann@/labels",
        "postgresql://ann@db",
        "postgresql://ann@db:port/labels",
        "postgresql://ann:secret@db/labels",
        "postgresql://ann@db/labels?sslmode=maybe",
        "postgresql://ann@db/labels?options=-csearch_path",
        "postgresql://ann@db/a;drop",
        "ann@db/labels",
    ],
)
def test_anything_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        DatabasePlace.parse(url)
    assert "secret" not in str(refused.value) and "needed" not in str(refused.value)
    assert (
        "postgresql://" in str(refused.value)
        or "DATABASE_PASSWORD" in str(refused.value)
        or ("sslmode=" in str(refused.value))
    )


def test_the_password_comes_from_a_file_and_the_name_from_the_state(tmp_path: Path) -> None:
    (tmp_path / "DATABASE_PASSWORD").write_text("secret")
    environment = {"DATABASE_URL": "postgresql://ann@db/labels", "SECRETS_DIR": str(tmp_path)}
    access = DatabaseAccess.of(environment, tmp_path)
    assert access is not None and access.password == "secret" and "secret" not in repr(access)
    assert (access.place.name, access.parameters["sslmode"]) == ("labels", "require")

    state = tmp_path / "volumes" / "labelstudio"
    state.mkdir(parents=True)
    (state / "database_name").write_text("labels_20260314t092653z\n")
    restored = DatabaseAccess.of({**environment, "DATABASE_CA": "configs/db.pem"}, tmp_path)
    assert restored is not None and restored.place.name == "labels_20260314t092653z"
    assert restored.parameters["sslmode"] == "verify-full"
    assert restored.parameters["sslrootcert"] == str(tmp_path / "configs/db.pem")
    assert DatabaseAccess.of({}, tmp_path) is None, "SQLite"
