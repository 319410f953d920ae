"""A state_dict in a model of other classes: what training begins with, and what is kept of it afterwards."""

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
    """Weights that are of another detector."""


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


@dataclass(frozen=True)
class Carried:
    """A state_dict, and what of the head it could not take over.

    lost: keys of tensors that follow the classes in a way that is not known, or that the source lacks or has
    in another shape; they are as the target had them.
    """

    state: dict[str, torch.Tensor]
    lost: tuple[str, ...]


def carry_over(
    target: State, source: State, rows: Mapping[str, Rows | None], to_label: Sequence[int | None], labels: int
) -> Carried:
    """`source`'s weights in the shapes of `target`.

    target: a freshly initialised model's, of `labels` classes. rows: class_rows of it. to_label: for each
    class of `source` the class of `target` it becomes, or None. A class that several become starts at their
    mean, one that none becomes keeps target's initial weights. Where every class stays what it was, whole
    tensors are taken.

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
    """Whether the rows of `theirs` could be copied into `value`."""
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
    """Whether each of `labels` labels starts from a class of the weights, none at random."""
    return set(range(labels)) <= set(to_label)


def in_words(to_label: Sequence[int | None], labels: Sequence[str], lost: Sequence[str]) -> str:
    """Where the head's rows of each label come from."""
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
    """Weights between a fine-tune and what it started from; `keep` is the start's share, 0..1.

    WiSE-FT (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022): the mean of both weights
    keeps more of what the start knew than the fine-tune does, and most of what was learnt. Counters stay
    those of the fine-tune.
    """
    return {
        key: torch.lerp(value, start[key].to(value), keep) if value.is_floating_point() else value
        for key, value in trained.items()
    }
