"""Checks a label config line by line for `make labels`, before anything else reads it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from labelloop import label_marks, task_value
from labelloop.label_xml import Tag
from labelloop.labels import (
    LabelConfigError,
    drawing_controls,
    faults,
    label_name,
    predicted_values,
    read_tags,
)

# Label Studio's drawing tools whose regions are no bounding boxes, so the loop cannot learn from them.
OTHER_REGIONS = (
    "BrushLabels",
    "PolygonLabels",
    "KeyPointLabels",
    "EllipseLabels",
    "VectorLabels",
    "BitmaskLabels",
)
OTHER_SHAPES = ("Brush", "Polygon", "KeyPoint", "Ellipse", "Vector", "Bitmask", "MagicWand")
# Label Studio's schema requires a name and a value of these tags …
_NEEDS_VALUE = ("Image", "Text", "HyperText")
# … a name and a toName of these …
_NEEDS_TO_NAME = ("Choices", "Labels", "TextArea", "Number", "RectangleLabels")
# … and at least one tag of the second kind inside each of the first, unless the values come from the task.
_NEEDS_INSIDE = {"Choices": "Choice", "Labels": "Label"}


@dataclass(frozen=True)
class Finding:
    """One finding. line: from 1. fault: True when the config cannot be used like this; otherwise it is a
    warning, and the config can be used.
    """

    line: int
    text: str
    fault: bool = True


def check(xml: str) -> list[Finding]:
    """Faults and warnings, by line. Without a fault, Label Studio and the loop accept the config."""
    try:
        root = read_tags(xml)
    except LabelConfigError as error:
        return [Finding(error.line, str(error))]
    found = {*_structure(root), *_labels(root), *_hotkeys(root)}
    found |= {Finding(line, text, fault=False) for line, text in label_marks.warnings(root)}
    told = {finding.line for finding in found if finding.fault}
    found |= {Finding(line, text) for line, text in faults(root) if line not in told}
    return sorted(found, key=lambda finding: finding.line)


def _structure(root: Tag) -> Iterator[Finding]:
    if root.name != "View":
        yield Finding(root.line, f"the outermost tag is <{root.name}>; Label Studio wants <View>")
    tags = list(root.iter())
    yield from _names(tags)
    controls = list(root.below("RectangleLabels"))
    if not controls:
        return
    yield from _part_of_a_url(controls[0], root)
    for other in controls[1:]:
        if other.get("toName") != controls[0].get("toName"):
            yield Finding(
                other.line,
                f"<RectangleLabels toName={other.get('toName')!r}>: the loop proposes and learns boxes on "
                f"{controls[0].get('toName')!r} alone (line {controls[0].line})",
                fault=False,
            )
    yield from _clicks(root, controls)
    for tag in tags:
        if tag.name in OTHER_REGIONS:
            yield Finding(tag.line, f"<{tag.name}>: the loop learns nothing from its regions", fault=False)


def _clicks(root: Tag, controls: list[Tag]) -> Iterator[Finding]:
    """Labels and tools with which a click, or a rough drag, fetches no box."""
    for control in controls:
        if control.get("smart").lower() == "false":
            text = '<RectangleLabels smart="false">: a click fetches no box of its labels'
            yield Finding(control.line, text, fault=False)
    ours = {label_name(tag).strip() for control in drawing_controls(root) for tag in control.below("Label")}
    for tag in root.iter():
        smart = "true" in (tag.get("smart").lower(), tag.get("smartOnly").lower())
        if not smart or tag.name not in (*OTHER_REGIONS, *OTHER_SHAPES):
            continue
        if tag.name != "KeyPointLabels":
            yield Finding(
                tag.line,
                f"<{tag.name}> is smart, but the model's answer is a rectangle: it gets none; a click with a "
                "label of <RectangleLabels> fetches a box",
                fault=False,
            )
            continue
        strange = [label_name(one) for one in tag.below("Label") if label_name(one).strip() not in ours]
        if strange:
            yield Finding(
                tag.line,
                f"<KeyPointLabels>: no <RectangleLabels> has {', '.join(map(repr, strange))}, so a click "
                "with it fetches no box",
                fault=False,
            )


def _names(tags: list[Tag]) -> Iterator[Finding]:
    """What Label Studio refuses: duplicate names, references to missing names, missing attributes or tags."""
    first: dict[str, Tag] = {}
    for tag in tags:
        name = tag.attributes.get("name")
        if name is not None and name in first:
            text = f"the name {name!r} is taken by <{first[name].name}> in line {first[name].line} already"
            yield Finding(tag.line, f"{text}; give one of them another")
        elif name is not None:
            first[name] = tag
    for tag in tags:
        shows = "value" in tag.attributes or "valueList" in tag.attributes
        if tag.name in _NEEDS_VALUE and not ("name" in tag.attributes and shows):
            yield Finding(tag.line, f'<{tag.name}> needs name="…" and value="$…"')
        if tag.name in _NEEDS_TO_NAME and not (tag.get("name") and tag.get("toName")):
            yield Finding(tag.line, f'<{tag.name}> needs name="…" and toName="…"')
        inside = _NEEDS_INSIDE.get(tag.name)
        if inside and "value" not in tag.attributes and not {inside, "View"} & {t.name for t in tag.children}:
            yield Finding(tag.line, f'<{tag.name}> has no <{inside} value="…"/>')
        for name in tag.get("toName").split(",") if tag.get("toName") else ():
            if name not in first:
                there = ", ".join(first) or "none"
                yield Finding(tag.line, f"toName={name!r}: no tag has that name; there are {there}")


def _part_of_a_url(control: Tag, root: Tag) -> Iterator[Finding]:
    for image in root.below("Image"):
        value = image.get("value")
        whole = task_value.REFERENCE.fullmatch(value) or not task_value.key_of(value)
        if image.get("name") == control.get("toName") and not whole:
            yield Finding(
                image.line,
                f"<Image value={value!r} is for tasks that hold a part of a URL, not for LABEL_CONFIG: the "
                'images of volumes/images need value="$image"',
                fault=False,
            )


def _labels(root: Tag) -> Iterator[Finding]:
    seen: dict[str, Tag] = {}
    claimed: dict[str, Tag] = {}
    for tag in (tag for control in drawing_controls(root) for tag in control.below("Label")):
        value = label_name(tag)
        if not value.strip():
            continue
        if value.startswith("$"):
            yield Finding(
                tag.line,
                f"<Label value={value!r}>: each task names it, and all its boxes are {value!r} to the loop; "
                f'an alias="…" gives them a name of their own',
                fault=False,
            )
        yield from _spelling(tag, value)
        yield from _alike(tag, value, seen)
        for name in predicted_values(tag):
            before = claimed.setdefault(name.casefold(), tag)
            if before is not tag:
                yield Finding(
                    tag.line,
                    f"predicted_values: {name!r} goes to {value!r} alone, not to {before.get('value')!r} "
                    f"(line {before.line}) too",
                    fault=False,
                )


def _spelling(tag: Tag, value: str) -> Iterator[Finding]:
    if value != value.strip():
        yield Finding(tag.line, f"label {value!r} begins or ends with a blank, which its boxes would lose")
    hidden = [c for c in value if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")]
    if hidden:
        code = f"U+{ord(hidden[0]):04X}"
        yield Finding(tag.line, f"label {value!r} holds an invisible character ({code})", fault=False)


def _alike(tag: Tag, value: str, seen: dict[str, Tag]) -> Iterator[Finding]:
    """Faults for labels that differ only in case or look alike: the loop or a reader takes them for one."""
    before = seen.setdefault(unicodedata.normalize("NFKC", value.strip()).casefold(), tag)
    earlier = label_name(before)
    if before is not tag and earlier.strip() != value.strip():
        same = f"is {earlier!r} to the loop, which stands in line {before.line} already"
        yield Finding(tag.line, f"label {value!r} {same}; rename or remove one")


def _hotkeys(root: Tag) -> Iterator[Finding]:
    taken: dict[str, Tag] = {}
    for tag in root.iter():
        key = tag.get("hotkey").lower()
        if key and taken.setdefault(key, tag) is not tag:
            first = taken[key].get("value") or taken[key].name
            yield Finding(
                tag.line, f"hotkey {key!r} is that of {first!r} (line {taken[key].line}) already", fault=False
            )
