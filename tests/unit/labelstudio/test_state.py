import json
from pathlib import Path

from provisioner.state import State, StateFile


def test_changes_are_kept(tmp_path: Path) -> None:
    StateFile(tmp_path / "s.json").update(project=3, problem="no")
    again = StateFile(tmp_path / "s.json")
    assert again.state == State(project=3, problem="no")
    again.update(problem=None, done=True)
    assert json.loads((tmp_path / "s.json").read_text())["done"] is True


def test_a_state_that_stays_the_same_is_not_written(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "s.json")
    file.update(project=3)
    (tmp_path / "s.json").write_text("touched")
    file.update(project=3)
    assert (tmp_path / "s.json").read_text() == "touched"


def test_garbage_and_fields_of_other_versions_count_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for text in ("{", "[]", "null"):
        path.write_text(text)
        assert StateFile(path).state == State()
    path.write_text('{"project": 2, "novel": 1}')
    assert StateFile(path).state == State(project=2)
