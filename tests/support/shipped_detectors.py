"""A round and its boxes with a detector of configs/detectors, of full width, on pictures of few pixels."""

from pathlib import Path
from typing import TYPE_CHECKING

from support.small_rounds import SmallRounds

from labelloop.settings import Settings

if TYPE_CHECKING:
    from mmcv import Config

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem for path in (CONFIGS / "detectors").glob("*.py"))
SIDE = 96
ITERATIONS = 3


def small_input(name: str) -> "Config":
    """A shipped detector's config, whose images have SIDE pixels."""
    from labelloop.detector import load_detector_config

    config = load_detector_config(name, Settings(labelloop_home=CONFIGS.parent))
    config.loop.update(train_size=SIDE, test_size=SIDE, iterations=ITERATIONS)
    config.loop.pop("closer", None)
    config.data.samples_per_gpu = 2
    if "input_size" in config.model:
        config.model.update(input_size=(SIDE, SIDE), random_size_range=(2, 4))
    return config


def train_and_serve(name: str, home: Path, device: str = "cpu") -> None:
    """Trains a round from random weights and asks its candidate for boxes."""
    import json

    from labelloop.detector import Detector
    from labelloop.images import read_image
    from trainer.training.learn import learn

    labels = ["ball", "crate"]
    small = SmallRounds.below(home, name, small_input(name))
    start = small.weights(home / "start.pth", labels)
    accelerator = "cuda" if device.startswith("cuda") else "cpu"
    snapshot = small.snapshot(labels)
    folder = small.round(
        "1", snapshot, start, labels, iterations=ITERATIONS, accelerator=accelerator, checkpoint_every_s=60.0
    )
    learn(folder, small.settings)

    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]
    assert len(losses) == ITERATIONS and all(0 < loss < 1000 for loss in losses)
    detector = Detector.load(folder / "candidate", device)
    pictures = [read_image(path) for path in sorted(small.settings.images_dir.iterdir())]
    found = detector.predict(pictures)
    assert len(found) == len(pictures)
    assert all((boxes.xyxy >= 0).all() and (boxes.labels < 2).all() for boxes in found)
