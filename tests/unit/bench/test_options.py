"""NAME=VALUE words become a run's options, or a sentence that says what is wrong with them."""

from pathlib import Path

import pytest
from bench.options import Options


def test_words_of_the_make_command_line() -> None:
    options = Options.parse(["ONLY=growth, startup", "SIZES=100,1000", "THREADS=1", "RUNTIME=host", "COCO="])
    assert options.only == ("growth", "startup")
    assert options.sizes == (100, 1000)
    assert Options.parse(["GOALS=40:0.55, 160:0.6"]).goals == {40: 0.55, 160: 0.6}
    assert (options.threads, options.runtime, options.coco) == (1, "host", None)
    assert (options.database, options.generated) == ("sqlite", False)
    options = Options.parse(["DATABASE=postgres", "GENERATED=1"])
    assert (options.database, options.generated) == ("postgres", True)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("SIZE=100", "'SIZE' is no setting"),
        ("growth", "'growth' is no setting"),
        ("SIZES=many", "valid integer"),
        ("SIZES=1000", "two different counts"),
        ("COCO=/nowhere", "no folder images/"),
        ("DATABASE=mysql", "^DATABASE=mysql: .*'sqlite' or 'postgres'"),
        ("GOALS=0.55", "LABELS:mAP"),
        ("SEEDS=,", "^SEEDS=: needed one or more different whole numbers from 0 on$"),
        ("SEEDS=1,1", "^SEEDS=1,1: needed one or more different"),
        ("LABELS=,", "^LABELS=: needed one or more"),
        ("LABELS=0,-3", "^LABELS=0,-3: needed one or more different whole numbers from 1 on$"),
        ("THREADS=0", "^THREADS=0: Input should be greater than or equal to 1$"),
    ],
)
def test_what_cannot_be_done_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Options.parse([word])


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine" / "images").mkdir(parents=True)
    options = Options.parse(["COCO=~/mine", "OUT=~/out"])
    assert (options.coco, options.out) == (tmp_path / "mine", tmp_path / "out")


def test_a_section_that_needs_data_says_which_setting_gives_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert Options(coco=tmp_path).coco_dir() == tmp_path
    with pytest.raises(ValueError, match="COCO=DIR"):
        Options().coco_dir()
