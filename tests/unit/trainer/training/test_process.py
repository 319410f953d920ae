"""What a training process leaves as its last word."""

from pathlib import Path

import pytest

from labelloop.errors import Explained
from trainer.training import learn
from trainer.training.process import EXPLAINED, main


@pytest.mark.parametrize(
    ("error", "last", "status"),
    [
        (Explained("the disk is full;\nmake room"), "the disk is full; make room", EXPLAINED),
        (ValueError("too many values to unpack"), "ValueError: too many values to unpack", 1),
        (RuntimeError("CUDA error"), "RuntimeError: CUDA error", 1),
        (KeyError("bbox"), "KeyError: 'bbox'", 1),
        (RuntimeError(), "RuntimeError", 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_person_should_read_stands_alone_and_a_bug_is_named(
    error: Exception,
    last: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path, settings: object, member: object) -> None:
        raise error

    monkeypatch.setattr(learn, "learn", fail)
    monkeypatch.setattr("trainer.training.process.die_with_parent", lambda: None)
    assert main([str(tmp_path)]) == status
    told = capfd.readouterr().err
    assert told.splitlines()[-1] == last
    assert ("Traceback" in told) is (status == 1), "only a fault that nobody foresaw leaves one"
