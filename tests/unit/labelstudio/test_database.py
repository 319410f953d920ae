import sqlite3
from contextlib import closing
from pathlib import Path

from provisioner import database


def make(path: Path, content: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (content,))
        connection.commit()


def content(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT x FROM t").fetchone()[0])


def test_the_first_boot_copies_the_template_whole(tmp_path: Path) -> None:
    make(tmp_path / "template", "fresh")
    target = tmp_path / "data" / "ls.sqlite3"
    assert database.copy_template(target, tmp_path / "template")
    assert content(target) == "fresh"
    assert [path.name for path in target.parent.iterdir()] == ["ls.sqlite3"]


def test_a_database_that_is_there_stays(tmp_path: Path) -> None:
    make(tmp_path / "template", "fresh")
    make(tmp_path / "ls.sqlite3", "mine")
    assert not database.copy_template(tmp_path / "ls.sqlite3", tmp_path / "template")
    assert content(tmp_path / "ls.sqlite3") == "mine"


def test_a_log_left_by_a_deleted_database_is_not_replayed(tmp_path: Path) -> None:
    make(tmp_path / "template", "fresh")
    (tmp_path / "ls.sqlite3-wal").write_bytes(b"of another database")
    assert database.copy_template(tmp_path / "ls.sqlite3", tmp_path / "template")
    assert not (tmp_path / "ls.sqlite3-wal").exists()


def test_without_a_template_the_migrations_do_it(tmp_path: Path) -> None:
    assert not database.copy_template(tmp_path / "ls.sqlite3", tmp_path / "none")
    assert not (tmp_path / "ls.sqlite3").exists()
