"""A folder in a version's form: config.py, weights.pth, card.json and, where it serves as well, a graph."""

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from pprint import pformat

import torch
from mmcv import Config

from labelloop.files import write_text
from labelloop.images import Pixels
from labelloop.registry import Card
from trainer.training.graphs import add_graph


def write(
    folder: Path, config: str, state: Mapping[str, torch.Tensor], card: Card, images: Iterable[Pixels]
) -> Card:
    """Fills an empty folder, durably; the card as written, which tells of the graph.

    config: a config_text. images: what the graph is checked on.
    """
    save_weights(state, folder / "weights.pth")
    write_text(folder / "config.py", config)
    write_text(folder / "card.json", card.model_dump_json() + "\n")
    complete = card.model_copy(update={"graph": add_graph(folder, images)})
    write_text(folder / "card.json", complete.model_dump_json(indent=2) + "\n")
    return complete


def save_weights(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """A state_dict, durably."""
    torch.save({key: value.detach().cpu() for key, value in state.items()}, path)
    with path.open("rb") as written:
        os.fsync(written.fileno())


def config_text(config: Config) -> str:
    """A config without its bases, as Python. (Config.pretty_text calls yapf in a way that yapf refuses.)"""
    return "".join(
        f"{key} = {pformat(value, width=110)}\n" for key, value in config._cfg_dict.to_dict().items()
    )


def libraries() -> dict[str, str]:
    """Versions of what a model's weights depend on."""
    return {name: version(name) for name in ("torch", "torchvision", "mmcv-full", "mmdet", "numpy")}
