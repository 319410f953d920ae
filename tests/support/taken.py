"""A project with a small detector that finds something, to be taken along."""

from pathlib import Path

from support.detectors import tiny_yolox
from support.shapes import LABEL_CONFIG, LABELS, picture
from support.snapshot_images import of_picture

from labelloop.registry import Card, ProjectModels
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.rounds.table import Rounds, State

THRESHOLDS = {"ball": 0.4, "crate": 0.35}
HOLDOUT, TRAINED_ON = 4, 4


def decided(folder: Path) -> Path:
    """Gives a folder's YOLOX opinions: as it is made, its scores are all nearly the same."""
    import torch

    weights = torch.load(folder / "weights.pth")
    for key, value in weights.items():
        if key.endswith("weight") and ("level_conv_cls" in key or "level_conv_obj" in key):
            weights[key] = 4 * value
    torch.save(weights, folder / "weights.pth")
    return folder


def promoted(models: ProjectModels, folder: Path) -> str:
    """A folder's detector as a version that was trained here, in service, and looks at mirror images too."""
    card = Card(
        detector="yolox_nano",
        classes=list(LABELS),
        dataset_fingerprint="made",
        score_thresholds=THRESHOLDS,
        start_weights="80 classes of yolox_nano.pth",
        metrics={"mAP": 0.5, "AP50": 0.75, "images": HOLDOUT},
        images=TRAINED_ON,
        boxes=9,
        mirrored=True,
    )
    version = models.write(card, (folder / "config.py").read_text(), folder / "weights.pth")
    models.promote(version)
    return version


def tiny_version(models: ProjectModels, folder: Path) -> str:
    return promoted(models, decided(tiny_yolox(folder, LABELS, seed=2)))


def labelled_round(settings: Settings) -> Snapshot:
    """A round of project 1 that is over, with a hold-out."""
    images = []
    for number in range(1, HOLDOUT + TRAINED_ON + 1):
        made = picture(number, size=(150 + 9 * number, 120))
        path = settings.images_dir / f"{number}.png"
        made.image.save(path)
        side = Side.HOLDOUT if number <= HOLDOUT else Side.TRAIN
        images.append(of_picture(number, made, path, settings.labelloop_home, side))
    snapshot = Snapshot(1, LABEL_CONFIG, LabelledImages(images), (), ())
    rounds = Rounds(settings.rounds_dir)
    round_, _ = rounds.request(1, "a test")
    rounds.folder(round_.id).mkdir(parents=True, exist_ok=True)
    snapshot.write(rounds.folder(round_.id))
    rounds.move(round_.id, State.FAILED)
    return snapshot
