"""The label config of a project, and how a model's classes map onto its labels.

`make labels` reads it with the host's own Python, 3.9 and without numpy, before anything is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labelloop import label_marks, label_xml, task_value
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
    """One label, and the model classes that its `predicted_values` name.

    value: what annotations hold, which is the <Label>'s alias if it has one, else its value. shown: the
    <Label>'s value where it has an alias; what was imported may hold that instead. control: the name of its
    RectangleLabels; empty for that of the config.
    """

    value: str
    predicted_values: tuple[str, ...] = ()
    # Not in the repr, of which the trainer records a digest: without aliases it is that of earlier releases.
    shown: str = field(default="", repr=False)
    control: str = field(default="", repr=False)

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.value, self.shown) if self.shown else (self.value,)


@dataclass(frozen=True)
class LabelConfig:
    """The RectangleLabels controls of a label config that draw on one image.

    control: the first one's name. to_name: the image tag's name. data_key: the key, or the path, of a task's
    data that holds the image's URL. labels: those of all these controls that are learned. marks: what else
    the config says. image: the image tag's `value` where it is more than `$` and the data_key.
    """

    control: str
    to_name: str
    data_key: str
    labels: tuple[Label, ...]
    marks: Marks = field(default_factory=Marks, hash=False, repr=False)
    image: str = field(default="", repr=False)

    @property
    def names(self) -> list[str]:
        return [label.value for label in self.labels]

    @property
    def shown_names(self) -> list[str]:
        """The name under which the editor shows each label."""
        return [label.shown or label.value for label in self.labels]

    @property
    def controls(self) -> tuple[str, ...]:
        """The names of all its controls."""
        return (self.control, *dict.fromkeys(label.control for label in self.labels if label.control))

    def image_of(self, data: object) -> object:
        """What a task's data give as the image's URL; None when they lack it."""
        return task_value.fill_in(self.image or f"${self.data_key}", data)

    def names_in(self, known: Collection[str]) -> list[str]:
        """The name of each label among `known`, which may be from before it had an alias; else its value."""
        return [
            next((name for name in label.spellings if name in known), label.value) for label in self.labels
        ]

    def by_spelling(self) -> dict[str, int]:
        """By what an annotation may hold for it, the index of each label.

        As in Label Studio's editor, the label's value counts as well as its alias.
        """
        shown = {label.shown.strip(): at for at, label in reversed([*enumerate(self.labels)]) if label.shown}
        return shown | {label.value.strip(): at for at, label in enumerate(self.labels)}


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
    controls = drawing_controls(root)
    to_name, first = controls[0].get("toName"), controls[0].get("name")
    image = next(tag for tag in root.below("Image") if tag.get("name") == to_name).get("value")
    labels = tuple(
        Label(
            label_name(tag),
            tuple(predicted_values(tag)),
            shown=tag.get("value") if tag.get("alias") else "",
            control=control.get("name") if control.get("name") != first else "",
        )
        for control in controls
        for tag in control.below("Label")
        if not label_marks.is_ignored(tag, control)
    )
    data_key = task_value.key_of(image)
    marks = label_marks.read(root, controls)
    return LabelConfig(first, to_name, data_key, labels, marks, image if image != f"${data_key}" else "")


def drawing_controls(root: Tag) -> list[Tag]:
    """The first <RectangleLabels>, and the others that draw on the same image. Empty when there is none."""
    controls = list(root.below("RectangleLabels"))
    return [control for control in controls if control.get("toName") == controls[0].get("toName")]


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
    controls = drawing_controls(root)
    if not controls:
        yield (
            root.line,
            'no <RectangleLabels>: write <RectangleLabels name="label" toName="image"> around the <Label>s',
        )
        return
    yield from _repeated(root)
    seen: dict[str, Tag] = {}
    for control in controls:
        if control.get("value"):
            yield (
                control.line,
                f"<RectangleLabels value={control.get('value')!r}> takes its labels from each task, where "
                'the loop can\'t know them; write each as <Label value="…"/> and remove that value',
            )
        tags = list(control.below("Label"))
        yield from _label_faults(tags, seen)
        if not tags and not control.get("value"):
            yield control.line, '<RectangleLabels> has no <Label value="…"/>'
    yield from label_marks.faults(controls)
    yield from _mistakable(seen)
    yield from _image_faults(controls[0], root)


def _label_faults(tags: Sequence[Tag], seen: dict[str, Tag]) -> Iterator[tuple[int, str]]:
    """seen: by name, the labels before these, to which these are added."""
    for tag in tags:
        name = label_name(tag).strip()
        if not name:
            yield tag.line, '<Label> has no value; write <Label value="…"/>'
        elif (before := seen.setdefault(name, tag)) is not tag:
            yield tag.line, f"label {name!r} stands in line {before.line} already; rename or remove one"


def _mistakable(labels: Mapping[str, Tag]) -> Iterator[tuple[int, str]]:
    """Labels whose value is another one's alias: Label Studio shows the boxes of one as the other's.

    labels: by the name that annotations hold.
    """
    for name, tag in labels.items():
        other = labels.get(tag.get("value").strip())
        if other is not None and other is not tag:
            yield (
                tag.line,
                f"<Label value={tag.get('value')!r} alias={name!r}>: that value is what the label of line "
                f"{other.line} is stored as; give one of them another",
            )


def _repeated(root: Tag) -> Iterator[tuple[int, str]]:
    """Controls and images inside a <Repeater>, of which a task has as many as its data say."""
    for repeater in root.below("Repeater"):
        if any(tag.name in ("RectangleLabels", "Image") for tag in repeater.iter()):
            yield (
                repeater.line,
                "<Repeater> shows several images in a task, of which the loop reads one; make a task of each "
                "image and remove the <Repeater>",
            )


def _image_faults(control: Tag, root: Tag) -> Iterator[tuple[int, str]]:
    to_name = control.get("toName")
    named = [tag for tag in root.iter() if "name" in tag.attributes and tag.get("name") == to_name]
    image = next((tag for tag in named if tag.name == "Image"), None)
    if image is None and "," in to_name:
        yield (
            control.line,
            f"<RectangleLabels toName={to_name!r}> draws on several images, of which the loop reads one; "
            "write a <RectangleLabels> for each",
        )
    elif image is None:
        found = f"is about a <{named[0].name}>, not an <Image>" if named else "names no <Image>"
        yield (
            control.line,
            f'<RectangleLabels toName={to_name!r}> {found}; write <Image name={to_name!r} value="$image"/>',
        )
    elif "valueList" in image.attributes:
        yield (
            image.line,
            f"<Image valueList={image.get('valueList')!r}> shows several images in a task, of which the loop "
            'reads one; make a task of each image and write value="$image"',
        )
    elif not task_value.key_of(image.get("value")):
        yield (
            image.line,
            f"<Image value={image.get('value')!r}> names no key of a task: "
            'value="$image" shows volumes/images',
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

    A label's names are what annotations hold and what is shown. Case is ignored. But where two labels, or two
    classes, differ in case only, each matches only a name that is exactly equal.
    """
    exactly = config.by_spelling()
    alike: dict[str, set[int]] = {}
    for index, label in enumerate(config.labels):
        for name in label.spellings:
            alike.setdefault(_folded(name), set()).add(index)
    rivals = Counter(_folded(name) for name in set(classes))
    found = {}
    for name in classes:
        near = alike.get(_folded(name), set())
        if name in exactly:
            found[name] = exactly[name]
        elif len(near) == 1 and rivals[_folded(name)] == 1:
            found[name] = next(iter(near))
    return found


def _folded(name: str) -> str:
    return name.strip().casefold()
