"""A small detector in service, and a project whose labels it is taught at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.learning_at_once import Labelled, new, starting
from support.small_rounds import SmallRounds

from labelloop.registry import ProjectModels, Registry
from trainer.instant import learner as module
from trainer.instant.fitting import Budget
from trainer.instant.learner import Learner

QUICK = Budget(2, 60.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SmallRounds:
    return SmallRounds.below(tmp_path_factory.mktemp("home"), "yolox")


@pytest.fixture
def models(home: SmallRounds, tmp_path: Path) -> ProjectModels:
    """v0000 is in service, knows the class "thing" alone, and looks at mirror images too."""
    return starting(home, tmp_path, Registry(tmp_path / "models").project(1), mirrored=True)


@pytest.fixture
def studio(home: SmallRounds) -> Labelled:
    return Labelled(home)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "FIRST", QUICK)
    monkeypatch.setattr(module, "NEXT", QUICK)
    yield


@pytest.fixture
def learner(home: SmallRounds, studio: Labelled, models: ProjectModels) -> Learner:
    return new(home, studio, models)
