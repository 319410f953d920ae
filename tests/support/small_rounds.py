"""Rounds that train one of support.families' detectors on a few small pictures, in this process."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.families import family
from support.shapes import LABELS, picture
from support.snapshot_images import of_picture

from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.training.job import Job

if TYPE_CHECKING:
    from mmcv import Config

SIDE = 64


def label_config(labels: Sequence[str]) -> str:
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{tags}</RectangleLabels></View>'
    )


@dataclass(frozen=True)
class SmallRounds:
    """A LABELLOOP_HOME with one detector in configs/detectors/ and five training images."""

    settings: Settings
    detector: str
    config: "Config"

    @classmethod
    def below(cls, home: Path, detector: str, config: "Config | None" = None) -> "SmallRounds":
        """config: the detector's; by default that of the family of its name."""
        from trainer.training.bundle import config_text

        settings = Settings(labelloop_home=home, threads=1)
        folder = settings.configs_dir / "detectors"
        folder.mkdir(parents=True)
        config = config or trainable(detector)
        (folder / f"{detector}.py").write_text(config_text(config))
        settings.images_dir.mkdir(parents=True)
        return cls(settings, detector, config)

    def snapshot(self, labels: Sequence[str] = LABELS, size: tuple[int, int] = (128, 96)) -> Snapshot:
        """The pictures' balls and crates become the first two labels. size: of a picture, which has room for
        one shape unless it is larger.
        """
        images = []
        for number in range(1, 7):
            made = picture(number, size)
            path = self.settings.images_dir / f"{number}.png"
            made.image.save(path)
            side = Side.HOLDOUT if number > 5 else Side.TRAIN
            images.append(of_picture(number, made, path, self.settings.labelloop_home, side))
        return Snapshot(1, label_config(labels), LabelledImages(images), (), ())

    def weights(self, path: Path, classes: Sequence[str], seed: int = 0) -> Path:
        """Random ones."""
        import torch

        from trainer.training.fit import new_model
        from trainer.training.recipe import fit_model

        config = deepcopy(self.config)
        fit_model(config, classes)
        torch.manual_seed(seed)
        torch.save(new_model(config).state_dict(), path)
        return path

    def round(self, name: str, snapshot: Snapshot, start: Path, classes: Sequence[str], **job: Any) -> Path:
        """A round's folder, ready to be trained from the weights `start` of `classes`."""
        folder = self.settings.rounds_dir / name
        folder.mkdir(parents=True)
        snapshot.write(folder)
        values = {
            "accelerator": "cpu",
            "parent": None,
            "iterations": 6,
            "threads": 1,
            "checkpoint_every_s": 0.0,
            **job,
        }
        made = Job(
            project_id=1,
            detector=self.detector,
            why="a test",
            start="made",
            start_weights=str(start),
            start_classes=list(classes),
            **values,
        )
        (folder / "job.json").write_text(made.model_dump_json())
        return folder


def trainable(name: str) -> "Config":
    config = family(name)
    config.loop = dict(train_size=SIDE, test_size=SIDE)
    config.data.samples_per_gpu = 2
    config.optimizer.lr = 0.001
    if name == "yolox":
        config.data.train.skip_type_keys = ("Mosaic", "RandomAffine", "MixUp")
        config.model.update(input_size=(SIDE, SIDE), random_size_range=(1, 3), random_size_interval=2)
    return config
