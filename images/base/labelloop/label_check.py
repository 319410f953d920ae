"""Checks a label config line by line for `make labels`, before anything else reads it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from labelloop import label_marks
from labelloop.label_xml import Tag
from labelloop.labels import LabelConfigError, faults, label_name, predicted_values, read_tags

# Label Studio's drawing tools whose regions are no bounding boxes, so the loop cannot learn from them.
OTHER_REGIONS = (
    "BrushLabels",
    "PolygonLabels",
    "KeyPointLabels",
    "EllipseLabels",
    "VectorLabels",
    "BitmaskLabels",
)
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
    yield from _image(controls[0], root)
    for other in controls[1:]:
        yield Finding(
            other.line,
            f"a second <RectangleLabels>: the loop proposes and learns boxes of the first alone "
            f"(line {controls[0].line})",
            fault=False,
        )
    for tag in tags:
        if tag.name in OTHER_REGIONS:
            yield Finding(tag.line, f"<{tag.name}>: the loop learns nothing from its regions", fault=False)


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


def _image(control: Tag, root: Tag) -> Iterator[Finding]:
    image = next((tag for tag in root.below("Image") if tag.get("name") == control.get("toName")), None)
    value = image.get("value") if image else "$image"
    if image and not (value.startswith("$") and value[1:].isidentifier()):
        yield Finding(
            image.line,
            f'<Image value={value!r}> names no key of a task: value="$image" shows volumes/images',
        )


def _labels(root: Tag) -> Iterator[Finding]:
    control = next(root.below("RectangleLabels"), None)
    seen: dict[str, Tag] = {}
    claimed: dict[str, Tag] = {}
    for tag in control.below("Label") if control else ():
        value = label_name(tag)
        if not value.strip():
            continue
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
