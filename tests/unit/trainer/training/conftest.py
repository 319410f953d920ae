"""What tests of starting weights and starting models share."""

from pathlib import Path

import pytest
import torch

from labelloop.detector import load_detector_config
from labelloop.settings import Settings
from trainer.training import weights
from trainer.training.fit import new_model
from trainer.training.published import Published
from trainer.training.recipe import fit_model

CONFIGS = Path(__file__).parents[4] / "configs"
State = dict[str, torch.Tensor]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with the repo's configs, an empty cache, and published URLs that nothing answers."""
    nowhere = {
        name: Published(f"http://127.0.0.1:9/{name}.pth", published.sha256)
        for name, published in weights.PUBLISHED.items()
    }
    monkeypatch.setattr(weights, "PUBLISHED", nowhere)
    (tmp_path / "configs").symlink_to(CONFIGS)
    (tmp_path / "volumes" / "cache" / "weights").mkdir(parents=True)
    return Settings(labelloop_home=tmp_path, detector="auto", accelerator="cpu")


@pytest.fixture(scope="module")
def nano() -> State:
    """A YOLOX-nano with random numbers for the 80 classes of COCO."""
    config = load_detector_config("yolox_nano", Settings(labelloop_home=CONFIGS.parent))
    fit_model(config, [""] * 80)
    torch.manual_seed(1)
    state: State = new_model(config).state_dict()
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()
    }
