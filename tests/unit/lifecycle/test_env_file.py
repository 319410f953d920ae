import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.console import Failure
from lifecycle.settings import env_file


def test_comments_quotes_and_export_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("# a comment\n\nexport A=1\nB = two words \nC='x # y'\nD=\"q\"\nE=v # why\nF=\n")
    assert env_file.read(path) == {"A": "1", "B": "two words", "C": "x # y", "D": "q", "E": "v", "F": ""}


def test_a_comment_behind_a_quoted_value_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("A=\"x\" # note\nB='x # y'  # it's a note\nC='' # none\nD=\"it's\"\n")
    assert env_file.read(path) == {"A": "x", "B": "x # y", "C": "", "D": "it's"}


def test_a_line_that_is_nothing_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("A=1\nwhat is this\n")
    with pytest.raises(Failure, match=r"x\.env, line 2: found 'what is this', needed NAME=VALUE"):
        env_file.read(path)


def test_an_update_keeps_comments_order_and_other_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("# mine\nA=1\n\nB=2\n")
    env_file.update(path, {"A": "9", "C": "3"}, header="# unused", mode=0o600)
    assert path.read_text() == "# mine\nA=9\n\nB=2\nC=3\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.env"]


def test_a_value_that_no_env_file_can_hold_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text("A=1\n")
    with pytest.raises(Failure, match="without quotes and line ends"):
        env_file.update(path, {"A": "it's"}, header="", mode=0o600)
    assert path.read_text() == "A=1\n"


@given(
    st.text(
        st.characters(exclude_characters="'\r\n", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=40
    )
)
def test_what_is_written_is_read_back(value: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.env")
        env_file.update(path, {"A": value}, header="# h", mode=0o644)
        assert env_file.read(path) == {"A": value}
