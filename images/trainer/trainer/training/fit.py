"""A model before it is trained, and what it keeps of that afterwards."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from mmcv import Config
from mmdet.models import build_detector

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
