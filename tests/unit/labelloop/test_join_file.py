"""The file by which machines join a cluster, and the head's mark on what they share."""

from pathlib import Path

import pytest

from labelloop.join_file import JoinFile, Mark, NotJoinable

FILE = JoinFile("10.0.0.5:6379", "token", "authority", "key", "0a1b2c", "mark")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "join.json").write_text(FILE.text())
    assert JoinFile.read(tmp_path / "join.json") == FILE
    (tmp_path / "mark").write_text(Mark("mark", 1000.5).text())
    assert Mark.read(tmp_path / "mark") == Mark("mark", 1000.5)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"head": "10.0.0.5:6379"}', "\x00"])
def test_another_file_is_named_in_the_refusal(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    for kind in (JoinFile, Mark):
        with pytest.raises(NotJoinable, match=str(path)):
            kind.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for kind in (JoinFile, Mark):
        with pytest.raises(NotJoinable, match="nowhere can't be read"):
            kind.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("now", "difference"),
    [(1000.0, 0.0), (1120.0, 0.0), (941.0, 0.0), (900.0, -100.0), (1500.0, 500.0)],
)
def test_a_clock_that_is_right_as_far_as_can_be_told_is_left_alone(now: float, difference: float) -> None:
    assert Mark("mark", 1000.0).clock_difference(now) == difference
