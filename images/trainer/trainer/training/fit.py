"""Fits weights to a model with other classes before training, and blends them with the result afterwards."""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmcv import Config
from mmdet.models import build_detector

from labelloop.errors import Explained
from trainer.training.head import Rows

State = Mapping[str, torch.Tensor]


class FitError(Explained):
    """The weights are from another detector."""


def new_model(config: Config) -> Any:
    """A randomly initialised model of a config that went through fit_model. Nothing is downloaded."""
    model = build_detector(deepcopy(config.model))
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # mmcv would log three lines for every tensor
    try:
        model.init_weights()
    finally:
        logging.disable(before)
    return model


@dataclass(frozen=True)
class Carried:
    """A state_dict, and the tensors of the head that could not be carried over.

    lost: keys of tensors that depend on the classes in an unknown way, or that the source lacks or has in
    another shape. They keep the target's values.
    """

    state: dict[str, torch.Tensor]
    lost: tuple[str, ...]


def carry_over(
    target: State, source: State, rows: Mapping[str, Rows | None], to_label: Sequence[int | None], labels: int
) -> Carried:
    """`source`'s weights in the shapes of `target`.

    target: the state_dict of a freshly initialised model with `labels` classes. rows: its class_rows.
    to_label: for each class of `source` the class of `target` that it becomes, or None. A target class starts
    at the mean of the classes that become it; without any, it keeps target's initial weights. If all classes
    stay the same, whole tensors are copied.

    Raises:
        FitError: source lacks a key of target that does not depend on the classes, or has it in another
        shape.
    """
    state = {key: value.clone() for key, value in target.items()}
    unchanged = tuple(to_label) == tuple(range(labels))
    lost = []
    for key, value in state.items():
        theirs = source.get(key)
        fits = theirs is not None and theirs.shape == value.shape
        if theirs is not None and fits and (key not in rows or unchanged):
            value.copy_(theirs)
        elif key not in rows:
            found = "nothing" if theirs is None else tuple(theirs.shape)
            raise FitError(
                f"the weights do not fit the detector: {key} is {tuple(value.shape)}, found {found}"
            )
        elif not _carry_rows(value, theirs, rows[key], to_label, labels) and set(to_label) - {None}:
            lost.append(key)
    return Carried(state, tuple(lost))


def _carry_rows(
    value: torch.Tensor,
    theirs: torch.Tensor | None,
    rows: Rows | None,
    to_label: Sequence[int | None],
    labels: int,
) -> bool:
    """Copies the rows of `theirs` into `value`; returns whether that was possible."""
    before = len(to_label)
    if theirs is None or rows is None or theirs.shape[1:] != value.shape[1:]:
        return False
    if len(theirs) != rows.count(before):
        return False
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(to_label):
        if label is not None:
            groups.setdefault(label, []).append(index)
    for label, members in groups.items():
        each = torch.stack([theirs[rows.of_class(index, before)] for index in members])
        value[rows.of_class(label, labels)] = each.mean(dim=0) if each.is_floating_point() else each[0]
    value[rows.of_none(labels)] = theirs[rows.of_none(before)]
    return True


def knows_every_label(to_label: Sequence[int | None], labels: int) -> bool:
    """Whether every label starts from a class of the weights, and none at random."""
    return set(range(labels)) <= set(to_label)


def head_in_words(to_label: Sequence[int | None], labels: Sequence[str], lost: Sequence[str]) -> str:
    """Says where each label's rows in the head come from."""
    reached = set(to_label)
    known = [label for index, label in enumerate(labels) if index in reached]
    new = [label for index, label in enumerate(labels) if index not in reached]
    told = []
    if known:
        told.append(f"{_some(known)} from classes of the weights")
    if new:
        told.append(f"{_some(new)} at random")
    if lost:
        told.append(
            f"all labels at random in {len(lost)} tensor{'' if len(lost) == 1 else 's'} that could not be "
            f"carried over: {_some(lost)}"
        )
    return "; ".join(told)


def _some(names: Sequence[str], shown: int = 10) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def blend(trained: State, start: State, keep: float) -> dict[str, torch.Tensor]:
    """A weighted mean of fine-tuned weights and those they started from. keep: the start's share, 0..1.

    This is WiSE-FT (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022): the mean keeps more
    of what the start knew than the fine-tuned weights do, and most of what was learnt. Counters stay those of
    the fine-tuned model.
    """
    return {
        key: torch.lerp(value, start[key].to(value), keep) if value.is_floating_point() else value
        for key, value in trained.items()
    }
