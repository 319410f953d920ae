"""Learning at once on demand, while the worker is at the same project."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_studio import FakeStudio
from support.versions import add_version

from labelloop.locks import Busy
from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.worker import learn_now as module
from trainer.worker.learn_now import LearnNow


class Prelabeller:
    """Another process proposes boxes for so many looks."""

    def __init__(self, busy: int, folder: Path) -> None:
        self._busy, self._path = busy, folder / "predict-1.lock"
        self.done = 0

    def run(self, project: Any) -> None:
        if self._busy:
            self._busy -= 1
            raise Busy(self._path, "77")
        self.done += 1


@pytest.fixture
def learn(home: Path, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> LearnNow:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    settings = TrainerSettings(instant=False)
    models = Registry(settings.models_dir).project(1)
    models.promote(add_version(models, home / "made"))
    return LearnNow(settings, Studio(fake_studio.url, "t"), Backend("http://127.0.0.1:1", ""), 1)


def test_a_worker_that_proposes_boxes_just_now_is_waited_for(
    learn: LearnNow, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prelabeller = Prelabeller(3, home)
    monkeypatch.setattr(learn, "_prelabeller", prelabeller)
    assert learn() == "v0000" and prelabeller.done == 1


def test_one_that_never_ends_is_named(learn: LearnNow, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    monkeypatch.setattr(learn, "_prelabeller", Prelabeller(10**6, home))
    with pytest.raises(Busy, match=r"predict-1\.lock is locked by process 77"):
        learn()
