"""Fills in what a label config leaves open, where Label Studio's defaults serve people badly.

Colours that colour-blind people can tell apart, lines that are seen on a photo, and no handle for a rotation
that nothing learns.

`make labels` reads it with the host's own Python, 3.9 and without numpy, before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from xml.sax.saxutils import quoteattr

from labelloop import label_xml
from labelloop.label_xml import Tag
from labelloop.labels import drawing_controls, label_name, read_tags

PALETTE = (
    # Okabe and Ito's, without black, which a dark photo hides.
    "#D55E00",
    "#56B4E9",
    "#F0E442",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    # Each is as far as can be from those before it, for whichever kind of eyes it is nearest to one of them.
    "#8800FF",
    "#BBEE99",
    "#774422",
    "#990066",
    "#00FFDD",
    "#BB55FF",
    "#FF0055",
    "#4433BB",
    "#88EE66",
    "#882288",
    "#EECCFF",
    "#AABB88",
    "#DD00BB",
)
"""In this order. Further labels begin anew; boxes have their label's name on them, too."""

# Label Studio draws 1 px and lets rectangles be rotated. A rotated one is learned as the box around it.
CONTROL = {"strokeWidth": "2", "canRotate": "false"}
# On the control they are the colour of all its boxes, which a label's would override.
COLOURS_OF_A_CONTROL = ("fillColor", "strokeColor")
LOOKS_ALIKE = 60.0
"""Two colours, by their distance in red, green and blue of 0 to 255."""


@dataclass(frozen=True)
class Filled:
    """A label config with what it left open.

    xml: its text; all that was in it stands as it was. told: what was filled in, a phrase for each tag.
    """

    xml: str
    told: tuple[str, ...]


def fill_in(xml: str) -> Filled:
    """Adds attributes that the tags of the learned boxes lack; an attribute that is there wins.

    >>> config = (
    ...     '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    ...     '<Label value="fox"/></RectangleLabels></View>'
    ... )
    >>> for told in fill_in(config).told:
    ...     print(told)
    line 1: <RectangleLabels> strokeWidth="2" canRotate="false"
    line 1: <Label value="fox"> background="#D55E00"
    >>> fill_in(fill_in(config).xml).told
    ()

    Raises:
        LabelConfigError: the text is no XML.
    """
    changes = [change for change in _changes(drawing_controls(read_tags(xml))) if change[1]]
    told = tuple(
        f"line {tag.line}: <{_named(tag)}> "
        + " ".join(f"{name}={quoteattr(value)}" for name, value in added.items())
        for tag, added in changes
    )
    return Filled(label_xml.edit(xml, changes), told)


def _changes(controls: Sequence[Tag]) -> Iterator[tuple[Tag, dict[str, str]]]:
    labels = [tag for control in controls for tag in control.below("Label")]
    colours = _unlike([tag.get("background") for tag in labels])
    for control in controls:
        yield control, {name: value for name, value in CONTROL.items() if name not in control.attributes}
        has_its_own = any(name in control.attributes for name in COLOURS_OF_A_CONTROL)
        for tag in control.below("Label"):
            if "background" not in tag.attributes and not has_its_own:
                yield tag, {"background": next(colours)}


def _unlike(taken: Sequence[str]) -> Iterator[str]:
    """Colours of the palette that look like none of those that are taken, again and again."""
    seen = [rgb for rgb in map(_rgb, taken) if rgb]
    unlike = [colour for colour in PALETTE if not any(_alike(_rgb(colour), other) for other in seen)]
    return cycle(unlike or PALETTE)


def _rgb(colour: str) -> tuple[int, ...]:
    """Of #rgb or #rrggbb; empty for a colour that is written in another way."""
    digits = colour.strip().lstrip("#")
    if not re.fullmatch(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}", digits):
        return ()
    wide = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    return tuple(int(wide[at : at + 2], 16) for at in (0, 2, 4))


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    return sum((a - b) ** 2 for a, b in zip(one, other)) < LOOKS_ALIKE**2  # noqa: B905


def _named(tag: Tag) -> str:
    return f"Label value={quoteattr(label_name(tag))}" if tag.name == "Label" else tag.name
