"""The label config of a project, and how a model's classes map onto its labels.

`make labels` reads it with the host's own Python, 3.9 and without numpy, before anything is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labelloop import label_marks, label_xml
from labelloop.errors import Explained
from labelloop.label_marks import Marks
from labelloop.label_xml import Tag

if TYPE_CHECKING:
    from labelloop.boxes import Boxes

SHARED_LABEL_NMS_IOU = 0.65
MAX_CHARACTERS = 1 << 20


class LabelConfigError(Explained):
    """No bounding box can be drawn with the label config; the message says why and what to write.

    line: where the fault is, from 1.
    """

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Label:
    """One label, and the model classes that its `predicted_values` name."""

    value: str
    predicted_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelConfig:
    """The first RectangleLabels control of a label config.

    control: the control's name. to_name: the image tag's name. data_key: the key of a task's data that holds
    the image's URL. labels: those that are learned. marks: what else the config says.
    """

    control: str
    to_name: str
    data_key: str
    labels: tuple[Label, ...]
    marks: Marks = field(default_factory=Marks, hash=False)

    @property
    def names(self) -> list[str]:
        return [label.value for label in self.labels]


def parse_label_config(xml: str) -> LabelConfig:
    """Reads Label Studio's label config.

    >>> config = parse_label_config(
    ...     '<View><Image name="image" value="$photo"/><RectangleLabels name="label" toName="image">'
    ...     '<Label value="fox" predicted_values="dog, cat"/></RectangleLabels></View>'
    ... )
    >>> config.data_key, config.names, config.labels[0].predicted_values
    ('photo', ['fox'], ('dog', 'cat'))

    Raises:
        LabelConfigError: `read_tags` or `faults` found something.
    """
    root = read_tags(xml)
    for line, text in faults(root):
        raise LabelConfigError(f"the label config, line {line}: {text}", line)
    control = next(root.below("RectangleLabels"))
    image = next(tag for tag in root.below("Image") if tag.get("name") == control.get("toName"))
    labels = tuple(
        Label(label_name(tag), tuple(predicted_values(tag)))
        for tag in control.below("Label")
        if not label_marks.is_ignored(tag, control)
    )
    data_key = image.get("value").lstrip("$") or "image"
    marks = label_marks.read(root, control)
    return LabelConfig(control.get("name"), control.get("toName"), data_key, labels, marks)


def read_tags(xml: str) -> Tag:
    """The root of a label config.

    Raises:
        LabelConfigError: the text is over MAX_CHARACTERS, is not XML, or has a document type declaration.
    """
    if len(xml) > MAX_CHARACTERS:
        raise LabelConfigError(
            f"the label config has {len(xml):,} characters, at most {MAX_CHARACTERS:,} are read; "
            "use fewer labels"
        )
    try:
        return label_xml.read(xml)
    except label_xml.BadXml as error:
        raise LabelConfigError(f"the label config, line {error.line}: {error}", error.line) from error


def faults(root: Tag) -> Iterator[tuple[int, str]]:
    """The reasons why no bounding boxes can be drawn with a config, each as its line and what to write."""
    control = next(root.below("RectangleLabels"), None)
    if control is None:
        yield (
            root.line,
            'no <RectangleLabels>: write <RectangleLabels name="label" toName="image"> around the <Label>s',
        )
        return
    seen: dict[str, Tag] = {}
    for tag in control.below("Label"):
        name = label_name(tag).strip()
        if not name:
            yield tag.line, '<Label> has no value; write <Label value="…"/>'
        elif (before := seen.setdefault(name, tag)) is not tag:
            yield tag.line, f"label {name!r} stands in line {before.line} already; rename or remove one"
    if not seen:
        yield control.line, '<RectangleLabels> has no <Label value="…"/>'
    yield from label_marks.faults(control)
    to_name = control.get("toName")
    named = [tag for tag in root.iter() if "name" in tag.attributes and tag.get("name") == to_name]
    if not any(tag.name == "Image" for tag in named):
        found = f"is about a <{named[0].name}>, not an <Image>" if named else "names no <Image>"
        yield (
            control.line,
            f'<RectangleLabels toName={to_name!r}> {found}; write <Image name={to_name!r} value="$image"/>',
        )


def label_name(tag: Tag) -> str:
    """The label that regions of a <Label> have: its alias if it has one, else its value."""
    return tag.get("alias") or tag.get("value")


def predicted_values(tag: Tag) -> list[str]:
    """The model classes that a <Label> names in its `predicted_values`."""
    return [name for name in (part.strip() for part in tag.get("predicted_values").split(",")) if name]


@dataclass(frozen=True)
class LabelMap:
    """The label that each model class becomes.

    to_label: for each class the index of its label, or None.
    """

    to_label: tuple[int | None, ...]
    unmapped_classes: tuple[str, ...]
    unmatched_labels: tuple[str, ...]

    @classmethod
    def build(cls, classes: Sequence[str], config: LabelConfig, *, trained: bool) -> LabelMap:
        """The map of a model's classes.

        trained: whether the model was trained on the project's own labels. If it was, its classes are present
        or past labels of the project, and each becomes only the label of its own name. The classes of a
        published model become the labels whose `predicted_values` name them, and otherwise the label of their
        own name. Several classes may share a label.
        """
        by_prediction = {
            predicted.casefold(): index
            for index, label in enumerate(config.labels)
            for predicted in label.predicted_values
            if not trained
        }
        by_name = _by_name(classes, config)
        to_label = tuple(by_prediction.get(name.casefold(), by_name.get(name)) for name in classes)
        reached = set(to_label)
        return cls(
            to_label,
            tuple(name for position, name in enumerate(classes) if to_label[position] is None),
            tuple(label.value for index, label in enumerate(config.labels) if index not in reached),
        )

    @property
    def knows_any(self) -> bool:
        """Whether any class of the model becomes a label of the project."""
        return any(index is not None for index in self.to_label)

    def apply(self, boxes: Boxes) -> Boxes:
        """Turns boxes of model classes into boxes of labels; boxes of unmapped classes are dropped.

        Boxes of classes that share a label go through non-maximum suppression together: one object that is
        detected as cat and as dog gives one raccoon.
        """
        import numpy as np

        from labelloop.boxes import Boxes, nms

        table = np.array([-1 if index is None else index for index in self.to_label], dtype=np.int64)
        if not len(table) or not len(boxes):
            return Boxes.empty()
        labels = table[boxes.labels]
        mapped = Boxes(boxes.xyxy, boxes.scores, labels).select(labels >= 0)
        used = [index for index in self.to_label if index is not None]
        return nms(mapped, SHARED_LABEL_NMS_IOU) if len(set(used)) < len(used) else mapped


def _by_name(classes: Sequence[str], config: LabelConfig) -> dict[str, int]:
    """By class, the index of the label of the same name. Classes without one are left out.

    Case is ignored. But where two labels, or two classes, differ in case only, each matches only a name that
    is exactly equal.
    """
    exactly = {label.value: index for index, label in enumerate(config.labels)}
    alike: dict[str, list[int]] = {}
    for index, label in enumerate(config.labels):
        alike.setdefault(_folded(label.value), []).append(index)
    rivals = Counter(_folded(name) for name in set(classes))
    found = {}
    for name in classes:
        near = alike.get(_folded(name), [])
        if name in exactly:
            found[name] = exactly[name]
        elif len(near) == 1 and rivals[_folded(name)] == 1:
            found[name] = near[0]
    return found


def _folded(name: str) -> str:
    return name.strip().casefold()
