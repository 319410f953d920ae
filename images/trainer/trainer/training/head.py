"""How the tensors of a detector's head follow its classes, and how they are carried over to other labels."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from mmcv import Config
from mmdet.models import build_detector

from trainer.training.recipe import fit_model

State = Mapping[str, torch.Tensor]

# mmdet's names of layers whose rows are not one block of classes for each anchor.
_BOXES_OF_EACH_CLASS = "fc_reg"  # of two-stage heads: the four sides of class 0's box, of class 1's, …
_YOLOV3 = "convs_pred"  # for each anchor the four sides, the objectness, then the classes


@dataclass(frozen=True)
class Rows:
    """Where a tensor keeps its classes along its first axis.

    `groups` blocks (one for each anchor), and in each `before` rows that belong to no class, `width` rows for
    each class, `after` rows that belong to no class (the background).
    """

    groups: int
    before: int = 0
    width: int = 1
    after: int = 0

    def _block(self, classes: int) -> int:
        return self.before + self.width * classes + self.after

    def count(self, classes: int) -> int:
        return self.groups * self._block(classes)

    def of_class(self, index: int, classes: int) -> list[int]:
        first = self.before + self.width * index
        starts = range(first, self.count(classes), self._block(classes))
        return [start + row for start in starts for row in range(self.width)]

    def of_none(self, classes: int) -> list[int]:
        own = range(self.before, self.before + self.width * classes)
        return [row for row in range(self.count(classes)) if row % self._block(classes) not in own]


@dataclass(frozen=True)
class Carried:
    """A state_dict, and what of the head it could not take over.

    lost: keys of tensors that follow the classes in a way that is not known, or that the source lacks or has
    in another shape; they are as the target had them.
    """

    state: dict[str, torch.Tensor]
    lost: tuple[str, ...]


def class_rows(config: Config, classes: int) -> dict[str, Rows | None]:
    """By key, the tensors whose shape follows the number of classes; None where it is not known how.

    Seen by building the detector with two numbers of classes.
    """
    few, more = (_shapes(config, count) for count in (classes, classes + 1))
    return {
        key: _rows(key, few, more[key][0] - shape[0], classes) if more[key][1:] == shape[1:] else None
        for key, shape in few.items()
        if more[key] != shape
    }


def _shapes(config: Config, classes: int) -> dict[str, torch.Size]:
    probe = deepcopy(config)
    fit_model(probe, [""] * classes)
    return {key: value.shape for key, value in build_detector(probe.model).state_dict().items()}


def _rows(key: str, shapes: Mapping[str, torch.Size], a_class: int, classes: int) -> Rows | None:
    """a_class: how many rows one class more adds."""
    rest = shapes[key][0] - a_class * classes
    *path, _ = key.split(".")
    if _BOXES_OF_EACH_CLASS in path:
        return Rows(1, width=a_class) if rest == 0 else None
    if _YOLOV3 in path:
        return Rows(a_class, before=rest // a_class) if rest % a_class == 0 else None
    # Only convolutions have anchors.
    weight = shapes.get(".".join([*path, "weight"]), shapes[key])
    if a_class > 1 and len(weight) != 4:
        return None
    return Rows(a_class, after=rest // a_class) if rest in (0, a_class) else None


def carry_over(
    target: State, source: State, rows: Mapping[str, Rows | None], to_label: Sequence[int | None], labels: int
) -> Carried:
    """`source`'s weights in the shapes of `target`.

    target: a freshly initialised model's, of `labels` classes. rows: class_rows of it. to_label: for each
    class of `source` the class of `target` it becomes, or None. A class that several become starts at their
    mean, one that none becomes keeps target's initial weights. Where every class stays what it was, whole
    tensors are taken.

    Raises:
        ValueError: source lacks a key of target that does not depend on the classes, or has it in another
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
            raise ValueError(
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
