"""Writes a version's folder: config.py, weights.pth, card.json and, if it gives the same boxes, a graph."""

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
from trainer.training.mixed import served_precision


def write(
    folder: Path,
    config: str,
    state: Mapping[str, torch.Tensor],
    card: Card,
    images: Iterable[Pixels],
    device: str = "cpu",
) -> Card:
    """Fills an empty folder, durably. Returns: the card as written, with what came of both checks.

    config: from `config_text`. images: the graph is checked on them and, where `device` is a GPU, 16 bits.
    """
    save_weights(state, folder / "weights.pth")
    write_text(folder / "config.py", config)
    write_text(folder / "card.json", card.model_dump_json() + "\n")
    outcomes = {"graph": add_graph(folder, images), "precision": served_precision(folder, images, device)}
    complete = card.model_copy(update=outcomes)
    write_text(folder / "card.json", complete.model_dump_json(indent=2) + "\n")
    return complete


def save_weights(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Writes a state_dict, durably."""
    torch.save({key: value.detach().cpu() for key, value in state.items()}, path)
    with path.open("rb") as written:
        os.fsync(written.fileno())


def config_text(config: Config) -> str:
    """A config as Python text, with its bases merged in. Config.pretty_text cannot be used, since yapf
    refuses its call.
    """
    return "".join(
        f"{key} = {pformat(value, width=110)}\n" for key, value in config._cfg_dict.to_dict().items()
    )


def libraries() -> dict[str, str]:
    """The versions of the libraries on which a model's weights depend."""
    return {name: version(name) for name in ("torch", "torchvision", "mmcv-full", "mmdet", "numpy")}
