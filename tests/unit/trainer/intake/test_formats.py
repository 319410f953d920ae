"""Which format a folder has, and what is said of one that has none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake import formats
from trainer.intake.formats import Format
from trainer.intake.records import IntakeError


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "there is nothing"),
        ({"a.png": "", "readme.md": ""}, "no dataset is found in it; COCO's JSON, YOLO"),
        ({"a.zip": ""}, "an archive has to be unpacked first"),
        ({"data.yaml": "names: [x]", "b.json": '{"images": []}'}, "could be coco .*, yolo .*; say which"),
        (
            {"a.csv": "", "b.json": '{"images": []}'},
            r"could be coco \(b.json\), csv \(a.csv\); say which by FORMAT=",
        ),
        (
            {"a/data.yaml": "names: [x]", "b/data.yaml": "names: [x]"},
            "several describe a dataset: a/data.yaml",
        ),
    ],
)
def test_a_folder_without_one_format_is_refused(
    write: Write, read: Read, files: dict[str, str], why: str
) -> None:
    for name, content in files.items():
        write(name, content)
    with pytest.raises(IntakeError, match=why):
        read()


def test_a_format_that_is_said_counts(write: Write, read: Read) -> None:
    write("a.png", "")
    write("a.csv", "a.png,1,1,5,5,ball\n")
    write("b.json", '{"images": []}')
    assert [record.name for record in read(format_=Format.CSV)] == ["a.png"]
    with pytest.raises(IntakeError, match="no file of the format voc is in it"):
        read(format_=Format.VOC)


def test_a_folder_that_cannot_be_read_is_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user is not the one who owns the dataset."""
    write("a.csv", "")

    def walk(folder: Path, onerror: Callable[[OSError], None]) -> list[object]:
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return []

    monkeypatch.setattr("trainer.intake.formats.os.walk", walk)
    with pytest.raises(IntakeError, match="set: Permission denied for user .*; `chmod -R o\\+rX` lets"):
        formats.detect(tmp_path / "set")


def test_nothing_outside_the_folders_is_read(write: Write, read: Read, tmp_path: Path) -> None:
    secret = write("../secret/s.png", "")
    (tmp_path / "set").mkdir(exist_ok=True)
    (tmp_path / "set" / "link.png").symlink_to(secret)
    write("boxes.csv", f"link.png,1,1,5,5,ball\n../secret/s.png,1,1,5,5,ball\n{secret},1,1,5,5,ball\n")
    found = read()
    assert [record.file for record in found] == [None] * 3
    assert "the link leads out of the dataset" in found[0].missing
    [inside, *_] = read(images=secret.parent)
    assert inside.file is not None
