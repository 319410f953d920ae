"""What a label config says beside its boxes: its other controls, and what is not to be learned from.

    <Label value="crowd" ignore="true"/>            boxes of this label are neither truth nor error
    <Choice value="Unusable" exclude="true"/>       images (per region: boxes) with this choice are left out
    <Label value="helmet" overlap="true"/>          a box of this label may lie on another label's box

A list does the same on the control: <RectangleLabels ignore="crowd,blurred" overlap="helmet">, <Choices
exclude="Unusable">. With <RectangleLabels choice="multiple"> a box can have several labels, so all of these
may overlap. Label Studio takes ignore, exclude and overlap and does nothing with them. The host reads this
module with Python 3.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from labelloop.label_xml import Tag

LISTS = ("ignore", "overlap")
"""The attributes of a <RectangleLabels> that list some of its labels."""

_NO = ("", "false", "0", "no")


@dataclass(frozen=True)
class Marks:
    """kinds: of each control, by its name, the type that its regions have ("choices", "polygonlabels", …).
    ignored: labels whose boxes are neither truth nor error. excluding: by the name of a control, the choices
    that leave an image out. per_region: the controls whose answers are about one region. overlapping: labels
    of which a box and another label's may lie on one object, so that both are proposed. clicks: whether a
    click fetches a box, of any label that is learned.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    excluding: dict[str, frozenset[str]] = field(default_factory=dict)
    per_region: frozenset[str] = frozenset()
    overlapping: frozenset[str] = frozenset()
    clicks: bool = True


def read(root: Tag, drawing: Sequence[Tag]) -> Marks:
    """The marks of a label config. drawing: the RectangleLabels whose boxes are learned."""
    controls = [tag for tag in root.iter() if tag.get("name") and tag.get("toName")]
    excluding = {tag.get("name"): frozenset(_excluding(tag)) for tag in controls}
    ignored = [
        _name(tag).strip()
        for control in drawing
        for tag in control.below("Label")
        if is_ignored(tag, control)
    ]
    overlapping = {
        _name(tag).strip()
        for control in drawing
        for tag in control.below("Label")
        if may_overlap(tag, control)
    }
    return Marks(
        kinds={tag.get("name"): tag.name.lower() for tag in controls},
        ignored=tuple(dict.fromkeys(ignored)),
        excluding={name: choices for name, choices in excluding.items() if choices},
        per_region=frozenset(tag.get("name") for tag in controls if says(tag, "perRegion")),
        overlapping=frozenset(overlapping),
        clicks=_clicks(root, drawing),
    )


def _clicks(root: Tag, drawing: Sequence[Tag]) -> bool:
    """Whether one of the controls is smart, as they are by default, or a key point with a label of theirs."""
    if any(control.get("smart").lower() != "false" for control in drawing):
        return True
    ours = {_name(label).strip() for control in drawing for label in control.below("Label")}
    return any(
        "true" in (points.get("smart").lower(), points.get("smartOnly").lower())
        and any(_name(label).strip() in ours for label in points.below("Label"))
        for points in root.below("KeyPointLabels")
    )


def is_ignored(label: Tag, control: Tag) -> bool:
    """Whether boxes of a <Label> of `control` are neither truth nor error."""
    if says(label, "ignore"):
        return True
    return bool(control.get("ignore")) and not _names(label).isdisjoint(_list(control, "ignore"))


def may_overlap(label: Tag, control: Tag) -> bool:
    """Whether boxes of a <Label> of `control` and of other labels may lie on one object."""
    if says(label, "overlap") or control.get("choice").strip().lower() == "multiple":
        return True
    return bool(control.get("overlap")) and not _names(label).isdisjoint(_list(control, "overlap"))


def faults(drawing: Sequence[Tag]) -> Iterator[tuple[int, str]]:
    """Why nothing can be learned from the labels of these RectangleLabels, as line and text."""
    labels = [(label, control) for control in drawing for label in control.below("Label")]
    if labels and all(is_ignored(label, control) for label, control in labels):
        yield (
            drawing[0].line,
            "every label is ignored, so there is nothing to learn; leave one without ignore",
        )


def warnings(root: Tag) -> Iterator[tuple[int, str]]:
    """The names in `ignore`, `overlap` and `exclude` that no label and no choice has, as line and text."""
    for attribute, outside, inside in (
        *((attribute, "RectangleLabels", "Label") for attribute in LISTS),
        ("exclude", "Choices", "Choice"),
    ):
        for control in root.below(outside):
            tags = list(control.below(inside))
            known = {name for tag in tags for name in _names(tag)}
            if control.get("value").startswith("$"):  # these come with each task
                continue
            for name in _list(control, attribute):
                if name not in known:
                    there = ", ".join(repr(_name(tag)) for tag in tags) or "none"
                    yield (
                        control.line,
                        f'{attribute}="{name}": no <{inside}> has that value; there are {there}',
                    )


def _excluding(control: Tag) -> Iterator[str]:
    if control.name != "Choices":
        return
    for choice in control.below("Choice"):
        if says(choice, "exclude") or set(_list(control, "exclude")) & _names(choice):
            yield _name(choice)
    if control.get("value").startswith("$"):
        yield from _list(control, "exclude")


def says(tag: Tag, attribute: str) -> bool:
    """Whether an attribute that is true or false is true."""
    return tag.get(attribute).strip().lower() not in _NO


def _list(tag: Tag, attribute: str) -> list[str]:
    return [name for name in (part.strip() for part in tag.get(attribute).split(",")) if name]


def _names(tag: Tag) -> set[str]:
    """The names by which the config's author may call a label or a choice."""
    return {tag.get("alias").strip(), tag.get("value").strip()} - {""}


def _name(tag: Tag) -> str:
    """What regions have: the alias if there is one, else the value."""
    return tag.get("alias") or tag.get("value")
