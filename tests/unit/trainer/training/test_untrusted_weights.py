"""Files of weights can come from anywhere: nothing in one is executed, wherever it is put."""

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from labelloop.detector import load_weights
from labelloop.registry import RegistryError
from labelloop.settings import Settings
from trainer.training import weights
from trainer.training.resuming import ResumingRunner, counted, generators

CONFIGS = Path(__file__).parents[4] / "configs"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


Write = Callable[[Any, Path], None]


def plain_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def old_torch(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.fixture(params=[torch.save, old_torch, plain_pickle], ids=["torch", "old torch", "pickle"])
def armed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint that is whole but for the bomb in it, in each format that torch reads."""
    model = torch.nn.Linear(2, 1)
    content = {
        "state_dict": model.state_dict(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1).state_dict(),
        "meta": {"epoch": 0, "iter": 3, "CLASSES": Bomb(tmp_path / "exploded")},
    }
    path = tmp_path / "armed.pth"
    request.param(content, path)
    return path


def runner(last: Path) -> ResumingRunner:
    model = torch.nn.Linear(2, 1)
    model.train_step = None
    return ResumingRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        work_dir=str(last.parent),
        logger=logging.getLogger("runner"),
        max_iters=9,
        last=str(last),
    )


def test_the_bomb_is_armed(armed: Path, tmp_path: Path) -> None:
    try:
        torch.load(armed, weights_only=False)
    except (RuntimeError, pickle.UnpicklingError):
        armed.open("rb").close()  # a plain pickle is no file of torch's, but is unpickled before that shows
    assert (tmp_path / "exploded").is_dir()


def test_a_versions_weights_and_a_rounds_start_are_refused(armed: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"armed\.pth holds no weights that can be read"):
        load_weights(armed)
    assert not (tmp_path / "exploded").exists()


def test_weights_of_the_cache_are_refused(armed: Path, tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsError, match=r"armed\.pth holds no weights that can be read safely"):
        weights.read_checkpoint(armed)
    assert not (tmp_path / "exploded").exists()


def test_a_starting_model_is_chosen_past_a_bomb_in_the_cache(
    armed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(labelloop_home=tmp_path, detector="yolox_nano")
    (tmp_path / "configs").symlink_to(CONFIGS)
    cache = settings.cache_dir / "weights"
    cache.mkdir(parents=True)
    armed.rename(cache / "yolox_nano.pth")
    monkeypatch.setattr(weights, "_fetch", lambda *asked: "no network")
    choice = weights.choose(settings)
    assert choice.detector == weights.FALLBACK and "can be read safely" in choice.why
    assert not (tmp_path / "exploded").exists()


def test_training_does_not_resume_from_a_bomb_but_starts_anew(armed: Path, tmp_path: Path) -> None:
    running = runner(armed)
    running.go_on()
    assert running.iter == 0 and not armed.exists()
    assert not (tmp_path / "exploded").exists()


def test_a_config_inside_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """mmcv's epoch-based runner would: it is Python."""
    model = torch.nn.Linear(2, 1)
    program = f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\n"
    content = {
        "iter": 3,
        "state_dict": model.state_dict(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1).state_dict(),
        "counted": counted(model),
        "generators": generators(),
        "meta": {"config": program},
    }
    torch.save(content, tmp_path / "last.pth")
    running = runner(tmp_path / "last.pth")
    running.go_on()
    assert running.iter == 3
    assert not (tmp_path / "exploded").exists()
