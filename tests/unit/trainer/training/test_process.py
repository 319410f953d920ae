"""What a training process leaves as its last word."""

from pathlib import Path

import pytest

from labelloop.errors import Explained
from trainer.training import learn
from trainer.training.process import main


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (Explained("the disk is full;\nmake room"), "the disk is full; make room"),
        (ValueError("too many values to unpack"), "ValueError: too many values to unpack"),
        (RuntimeError("CUDA error"), "RuntimeError: CUDA error"),
        (KeyError("bbox"), "KeyError: 'bbox'"),
        (RuntimeError(), "RuntimeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_person_should_read_stands_alone_and_a_bug_is_named(
    error: Exception,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path, settings: object) -> None:
        raise error

    monkeypatch.setattr(learn, "learn", fail)
    monkeypatch.setattr("trainer.training.process.die_with_parent", lambda: None)
    assert main([str(tmp_path)]) == 1
    told = capfd.readouterr().err
    assert told.splitlines()[-1] == last
    assert "Traceback" in told
