"""Corrects one box of an annotation, as somebody decided who saw it beside the model's box."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelloop.boxes import Boxes, iou_matrix
from labelloop.labels import LabelConfig
from labelloop.regions import read_regions, to_results
from trainer.dataset.mending import hangs_on
from trainer.dataset.reviews import SAME_PX, How, Side
from trainer.dataset.rewriting import AnnotationChanged, Edit

Json = Mapping[str, Any]
Size = tuple[int, int]

PLACE = ("x", "y", "width", "height", "rotation")
THERE_ALREADY = 0.8
"""From this IoU on a box of the same label is the one that is to be added."""


def correction(
    results: Sequence[Any],
    config: LabelConfig,
    size: Size,
    how: How,
    label: Side | None,
    model: Side | None,
) -> Edit:
    """What is to be changed in an annotation's results.

    size: width and height of the image in pixels. how: ACCEPTED, the model's box takes the place of the
    label's, or is added where there is none; DELETED, the label's box goes; RELABELLED, it gets the model's
    label.

    Raises:
        AnnotationChanged: the annotation does not have the label's box any more, or the label config does not
            have the model's label.
    """
    if label is None:
        if how is not How.ACCEPTED or model is None:
            raise AnnotationChanged("there is no box in the annotation that this could be done to")
        _require_room(results, config, size, model)
        return Edit((), (_as_row(model, config, size),))
    row = _row_of(results, config, size, label)
    if how is How.DELETED:
        return _deleted(results, row, label, config)
    if model is None:
        raise AnnotationChanged("there is no box of the model that this could be done with")
    if how is not How.ACCEPTED:
        return Edit((row,), (_relabelled(row, label.label, model.label, config),))
    place = _as_row(model, config, size)["value"]
    moved = _relabelled(_moved(row, place), label.label, model.label, config)
    about = [other for other in results if other is not row and _has_place_of(other, row)]
    return Edit((row, *about), (moved, *(_moved(other, place) for other in about)))


def _moved(row: Json, place: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "value": {**row["value"], **{side: place[side] for side in PLACE}}}


def _has_place_of(other: Any, row: Json) -> bool:
    """Whether a row, an answer about the box, repeats the box's place. Label Studio draws the box where the
    first row of its id says.
    """
    if not isinstance(other, Mapping) or row.get("id") is None or other.get("id") != row.get("id"):
        return False
    value = other.get("value")
    return isinstance(value, Mapping) and all(side in value for side in PLACE[:4])


def require_known(rows: Sequence[Any], config: LabelConfig) -> None:
    """Raises AnnotationChanged: the label config does not have what some of an annotation's rows need."""
    faults = read_regions(rows, config).faults
    if faults:
        raise AnnotationChanged(f"the label config was changed since, so nothing was written: {faults[0]}")


def _require_room(results: Sequence[Any], config: LabelConfig, size: Size, model: Side) -> None:
    """Raises AnnotationChanged: somebody else has added the model's box meanwhile."""
    found = read_regions(results, config, size).boxes
    same = found.select(found.labels == _index(model.label, config))
    if (iou_matrix(np.array([model.box], dtype=np.float32), same.xyxy) >= THERE_ALREADY).any():
        raise AnnotationChanged("such a box is there already, so nothing was written")


def _deleted(results: Sequence[Any], row: Json, label: Side, config: LabelConfig) -> Edit:
    """The region goes, with what hangs on it; of one with several labels, only the label."""
    others = [name for name in row["value"]["rectanglelabels"] if not _is(name, label.label, config)]
    if others:
        return Edit((row,), ({**row, "value": {**row["value"], "rectanglelabels": others}},))
    gone = {row.get("id")} - {None}
    return Edit((row, *(other for other in results if other is not row and hangs_on(other, gone))), ())


def _relabelled(row: Json, old: str, new: str, config: LabelConfig) -> dict[str, Any]:
    names = row["value"]["rectanglelabels"]
    label = config.labels[_index(new, config)]
    control = label.control or config.control
    if len(names) > 1 and row.get("from_name") != control:
        raise AnnotationChanged(
            "the box has labels of several controls, so nothing was written; open the task"
        )
    changed = [label.value if _is(name, old, config) else name for name in names]
    value = {**row["value"], "rectanglelabels": list(dict.fromkeys(changed))}
    return {**row, "from_name": control, "value": value}


def _row_of(results: Sequence[Any], config: LabelConfig, size: Size, label: Side) -> Json:
    """The region of the label's box. Raises AnnotationChanged."""
    for row in results:
        if not isinstance(row, Mapping) or row.get("type") != "rectanglelabels":
            continue
        found = read_regions([row], config, size).boxes
        for corners, index in zip(found.xyxy, found.labels.tolist(), strict=True):
            if (
                index == _index(label.label, config)
                and np.abs(corners - np.array(label.box)).max() <= SAME_PX
            ):
                return row
    raise AnnotationChanged(
        "the annotation was changed meanwhile and does not have this box any more, so nothing was written"
    )


def _as_row(side: Side, config: LabelConfig, size: Size) -> dict[str, Any]:
    """A region for a box of the model."""
    boxes = Boxes.of([side.box], [1.0], [_index(side.label, config)])
    rows = to_results(boxes, config, *size)
    if not rows:
        raise AnnotationChanged("the model's box is less than a pixel wide or high, so nothing was written")
    row = {name: value for name, value in rows[0].items() if name != "score"}
    return {**row, "origin": "prediction"}


def _index(name: str, config: LabelConfig) -> int:
    found = config.by_spelling().get(name.strip())
    if found is None:
        raise AnnotationChanged(f"the label config does not have {name!r} any more, so nothing was written")
    return found


def _is(spelled: object, name: str, config: LabelConfig) -> bool:
    known = config.by_spelling()
    return isinstance(spelled, str) and known.get(spelled.strip()) == known.get(name.strip())
