"""What is wrong with a label config, line by line: for `make labels`, before anything else sees it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from labelloop.label_xml import BadXml, Tag, read
from labelloop.labels import LabelConfigError, parse_label_config

# Drawing tools of Label Studio whose regions hold no box that the loop could learn from.
OTHER_REGIONS = (
    "BrushLabels",
    "PolygonLabels",
    "KeyPointLabels",
    "EllipseLabels",
    "VectorLabels",
    "BitmaskLabels",
)
# Label Studio's schema asks these for a name and something to show …
_NEEDS_VALUE = ("Image", "Text", "HyperText")
# … these for a name and what they are about …
_NEEDS_TO_NAME = ("Choices", "Labels", "TextArea", "Number", "RectangleLabels")
# … and these for one of those inside, or values from the task.
_NEEDS_INSIDE = {"Choices": "Choice", "Labels": "Label"}


@dataclass(frozen=True)
class Finding:
    """line: from 1. fault: the config can't be used so; else it can, with a surprise."""

    line: int
    text: str
    fault: bool = True


def check(xml: str) -> list[Finding]:
    """Faults and warnings in the order of the lines; without a fault, Label Studio and the loop take it."""
    try:
        root = read(xml)
    except BadXml as error:
        return [Finding(error.line, str(error))]
    found = sorted({*_structure(root), *_labels(root), *_hotkeys(root)}, key=lambda finding: finding.line)
    try:
        parse_label_config(xml)
    except LabelConfigError as error:
        if not any(finding.fault for finding in found):
            found.append(Finding(root.line, str(error)))
    return found


def _structure(root: Tag) -> Iterator[Finding]:
    if root.name != "View":
        yield Finding(root.line, f"the outermost tag is <{root.name}>; Label Studio wants <View>")
    tags = list(root.iter())
    yield from _names(tags)
    controls = [tag for tag in tags if tag.name == "RectangleLabels"]
    if not controls:
        yield Finding(
            root.line,
            'no <RectangleLabels>: write <RectangleLabels name="label" toName="image"> around the <Label>s',
        )
        return
    yield from _image(controls[0], tags)
    if not any(tag.name == "Label" for tag in controls[0].iter()):
        yield Finding(controls[0].line, '<RectangleLabels> has no <Label value="…"/>')
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
    """What Label Studio refuses: names twice, names that nothing has, tags that lack what they need."""
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


def _image(control: Tag, tags: list[Tag]) -> Iterator[Finding]:
    to_name = control.get("toName")
    named = next((tag for tag in tags if to_name and tag.get("name") == to_name), None)
    if named is None:
        return
    value = named.get("value")
    if named.name != "Image":
        yield Finding(
            control.line, f"<RectangleLabels toName={to_name!r}> is about a <{named.name}>, not an <Image>"
        )
    elif not value.startswith("$") or not value[1:].isidentifier():
        yield Finding(
            named.line,
            f'<Image value={value!r}> names no key of a task: value="$image" shows volumes/images',
        )


def _labels(root: Tag) -> Iterator[Finding]:
    control = next((tag for tag in root.iter() if tag.name == "RectangleLabels"), None)
    seen: dict[str, Tag] = {}
    claimed: dict[str, Tag] = {}
    for tag in control.iter() if control else ():
        if tag.name != "Label":
            continue
        value = tag.get("alias") or tag.get("value")
        if not value.strip():
            yield Finding(tag.line, '<Label> has no value; write <Label value="…"/>')
            continue
        yield from _spelling(tag, value)
        yield from _again(tag, value, seen)
        for name in filter(None, (part.strip() for part in tag.get("predicted_values").split(","))):
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


def _again(tag: Tag, value: str, seen: dict[str, Tag]) -> Iterator[Finding]:
    """Names are compared as the loop does, without regard to case, and as a reader does, by their looks."""
    key = unicodedata.normalize("NFKC", value.strip()).casefold()
    before = seen.setdefault(key, tag)
    if before is not tag:
        earlier = before.get("alias") or before.get("value")
        same = "stands" if earlier == value else f"is {earlier!r} to the loop, which stands"
        yield Finding(tag.line, f"label {value!r} {same} in line {before.line} already; rename or remove one")


def _hotkeys(root: Tag) -> Iterator[Finding]:
    taken: dict[str, Tag] = {}
    for tag in root.iter():
        key = tag.get("hotkey").lower()
        if key and taken.setdefault(key, tag) is not tag:
            first = taken[key].get("value") or taken[key].name
            yield Finding(
                tag.line, f"hotkey {key!r} is that of {first!r} (line {taken[key].line}) already", fault=False
            )
