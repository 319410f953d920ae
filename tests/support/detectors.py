"""Real mmdet detectors, small and untrained."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from support.families import random_model

if TYPE_CHECKING:
    from mmcv import Config


def tiny_yolox(folder: Path, classes: Sequence[str], seed: int = 0) -> Path:
    """Writes a YOLOX of a few thousand random weights as a version's folder."""
    from mmcv import Config

    from labelloop.detector import mmdet_config

    config = Config.fromfile(mmdet_config("yolox/yolox_nano_8x8_300e_coco.py"))
    config.model.backbone.widen_factor = 0.125
    config.model.neck.update(in_channels=[32, 64, 128], out_channels=16)
    config.model.bbox_head.update(num_classes=len(classes), in_channels=16, feat_channels=16)
    config.test_pipeline[1]["img_scale"] = (128, 128)
    config.data.test.pipeline = config.test_pipeline
    return write_version(folder, config, classes, seed)


def add_tiny_yolox(models: Path, classes: Sequence[str], seed: int) -> str:
    """A new champion of project 1, with its graph."""
    from labelloop.registry import Card, Registry
    from trainer.training.graphs import add_graph

    project = Registry(models).project(1)
    folder = tiny_yolox(models / "tiny", classes, seed)
    card = Card(detector="tiny", classes=list(classes), graph=add_graph(folder, []))
    version = project.write(card, (folder / "config.py").read_text(), folder / "weights.pth")
    shutil.rmtree(folder)
    project.promote(version)
    return version


def write_version(folder: Path, config: "Config", classes: Sequence[str], seed: int) -> Path:
    """A model of `config` with random weights as config.py, weights.pth and card.json."""
    import torch

    from labelloop.registry import Card
    from trainer.training.bundle import config_text

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    torch.save(random_model(config).state_dict(), folder / "weights.pth")
    (folder / "config.py").write_text(config_text(config))
    (folder / "card.json").write_text(Card(detector=folder.name, classes=list(classes)).model_dump_json())
    return folder
