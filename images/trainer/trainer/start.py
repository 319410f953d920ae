"""Where a model's weights come from before it is trained: a state_dict fitted to other classes."""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from mmcv import Config
from mmdet.models import build_detector

from trainer.recipe import fit_model

State = Mapping[str, torch.Tensor]


def new_model(config: Config) -> Any:
    """A randomly initialised model of a config that fit_model has seen; nothing is downloaded."""
    model = build_detector(deepcopy(config.model))
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # mmcv gives every tensor three lines
    try:
        model.init_weights()
    finally:
        logging.disable(before)
    return model


def class_keys(config: Config, classes: int) -> set[str]:
    """The keys of the state_dict whose shape follows the number of classes."""
    shapes = []
    for count in (classes, classes + 1):
        probe = deepcopy(config)
        fit_model(probe, [""] * count)
        state = build_detector(probe.model).state_dict()
        shapes.append({key: value.shape for key, value in state.items()})
    return {key for key, shape in shapes[0].items() if shapes[1][key] != shape}


def knows_every_label(to_label: Sequence[int | None], labels: int) -> bool:
    """Whether each of `labels` labels starts from a class of the weights, none at random."""
    return set(range(labels)) <= set(to_label)


def blend(trained: State, start: State, keep: float) -> dict[str, torch.Tensor]:
    """Weights between a fine-tune and what it started from; `keep` is the start's share, 0..1.

    WiSE-FT (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022): the mean of both weights
    keeps more of what the start knew than the fine-tune does, and most of what was learnt. Counters stay
    those of the fine-tune.
    """
    return {
        key: torch.lerp(value, start[key].to(value), keep) if value.is_floating_point() else value
        for key, value in trained.items()
    }


def fit_state(
    target: State, source: State, keys: set[str], to_label: Sequence[int | None]
) -> dict[str, torch.Tensor]:
    """`source`'s weights in the shapes of `target`.

    target: a freshly initialised model's. keys: those that depend on the classes, one row a class. to_label:
    for each class of `source` the class of `target` it becomes, or None. A class that several become starts
    at their mean, one that none becomes keeps target's initial weights.

    Raises:
        ValueError: source lacks a key of target, or has it in another shape.
    """
    fitted = {key: value.clone() for key, value in target.items()}
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(to_label):
        if label is not None:
            groups.setdefault(label, []).append(index)
    for key, value in fitted.items():
        if key in keys:
            if (
                key in source
                and len(source[key]) == len(to_label)
                and source[key].shape[1:] == value.shape[1:]
            ):
                for label, members in groups.items():
                    value[label] = source[key][members].mean(dim=0)
        elif key not in source or source[key].shape != value.shape:
            found = tuple(source[key].shape) if key in source else "nothing"
            raise ValueError(
                f"the weights do not fit the detector: {key} is {tuple(value.shape)}, found {found}"
            )
        else:
            value.copy_(source[key])
    return fitted
