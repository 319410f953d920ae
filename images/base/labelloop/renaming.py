"""Gives labels other names: in a label config, and in what annotations hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop import label_marks, label_xml, runner_up
from labelloop.errors import Explained
from labelloop.label_xml import Tag
from labelloop.labels import drawing_controls, label_name, parse_label_config, predicted_values, read_tags

FORM = "old=new, or several such pairs with commas between"


class RenameError(Explained):
    """The labels cannot be renamed so; the message says what is in the way."""


def read_pairs(text: str) -> dict[str, str]:
    """The new name of each old one. A backslash before a comma, an = or a backslash makes it part of a name.

    >>> read_pairs("cat=feline, kitten=feline")
    {'cat': 'feline', 'kitten': 'feline'}

    Raises:
        RenameError: the text is something else, or a name is to be both left and taken.
    """
    names: dict[str, str] = {}
    for pair in re.findall(r"(?:\\.|[^,\\])+|(?<=,)(?=,|$)|^$", text):
        found = re.fullmatch(r"((?:\\.|[^=\\])*)=((?:\\.|[^=\\])*)", pair, re.DOTALL)
        old, new = (re.sub(r"\\(.)", r"\1", part).strip() for part in found.groups()) if found else ("", "")
        if not old or not new:
            raise RenameError(f"RENAME: {pair!r} is no pair; write {FORM}")
        if names.setdefault(old, new) != new:
            raise RenameError(f"RENAME: {old!r} can't become both {names[old]!r} and {new!r}")
    for old in names:
        if old in names.values():
            raise RenameError(
                f"RENAME: {old!r} is both an old name and a new one; rename in two steps, the first of which "
                f"gives {old!r} a name that no other label has"
            )
    return names


def command(old: str, new: str, project: int | None = None) -> str:
    """What to type to rename a label. project: names one that is not the first.

    >>> command("big cat", "lion"), command("cat, dog", "pet", 2)
    ("make labels RENAME='big cat=lion'", "make labels RENAME='cat\\\\, dog=pet' PROJECT=2")
    """
    pair = "=".join(re.sub(r"([\\,=])", r"\\\1", name) for name in (old, new))
    return f"make labels RENAME={shlex.quote(pair)}" + ("" if project is None else f" PROJECT={project}")


@dataclass(frozen=True)
class RenamedConfig:
    """A label config under other names.

    xml: its text. names: by what annotations may hold for a label that is renamed, what they shall hold: the
    given names, and the values of labels with an alias that went into another one. elsewhere: controls whose
    regions have labels of their own.
    """

    xml: str
    names: Mapping[str, str]
    elsewhere: frozenset[str]


def rename_in_config(xml: str, names: Mapping[str, str], classes: Collection[str] = ()) -> RenamedConfig:
    """Renames labels in a config. Those that get the same name become one, with all their predicted_values.

    classes: of the starting model. A class that has become a label by its name does so by predicted_values
    from then on.

    Raises:
        labels.LabelConfigError: no boxes are drawn with the config. RenameError: a label would be missing.
    """
    parse_label_config(xml)
    root = read_tags(xml)
    controls = drawing_controls(root)
    tags = [tag for control in controls for tag in control.below("Label")]
    control_of = {id(tag): control for control in controls for tag in control.below("Label")}

    def ignored(tag: Tag) -> bool:
        return label_marks.is_ignored(tag, control_of[id(tag)])

    changes: list[tuple[Tag, Mapping[str, str] | None]] = []
    spelt = dict(names)
    for new in dict.fromkeys(names.values()):
        old = [tag for tag in tags if names.get(label_name(tag).strip()) == new]
        kept = next((tag for tag in tags if label_name(tag).strip() == new), None)
        renamed = kept is None and bool(old)
        kept = old[0] if renamed else kept
        if kept is None:
            raise RenameError(
                f"RENAME: no label is called {new!r} or becomes it; there are "
                f"{', '.join(repr(label_name(tag)) for tag in tags)}"
            )
        gone = [tag for tag in old if tag is not kept]
        if any(ignored(tag) != ignored(kept) for tag in gone):
            raise RenameError(
                f"RENAME: {new!r} would be both a label that is learned and one with ignore; give both, or "
                "neither, ignore in the label config first"
            )
        attributes = {"alias" if kept.get("alias") else "value": new} if renamed else {}
        if any(_brings_overlap(tag, control_of[id(tag)], control_of[id(kept)]) for tag in gone):
            attributes["overlap"] = "true"
        left = {name for name in names if names[name] == new}
        takes = _predictions(kept, old, left, tags, classes)
        if takes != predicted_values(kept):
            attributes["predicted_values"] = ",".join(takes)
        changes += [(kept, attributes), *((tag, None) for tag in gone)]
        spelt |= {tag.get("value").strip(): new for tag in gone}
    changes += _mentions(
        root, controls, spelt, {id(tag) for tag, attributes in changes if attributes is None}
    )
    changed = label_xml.edit(xml, changes)
    parse_label_config(changed)
    named = {tag.get("name") for tag in root.iter() if tag.get("toName")}
    return RenamedConfig(changed, spelt, frozenset(named - {control.get("name") for control in controls}))


def _predictions(
    kept: Tag, old: Collection[Tag], left: Collection[str], tags: Collection[Tag], classes: Collection[str]
) -> list[str]:
    """The predicted_values of `kept`, once the labels `old`, of the names `left`, are it."""
    claimed = {name.casefold() for tag in tags for name in predicted_values(tag)}
    found = [*predicted_values(kept), *(name for tag in old for name in predicted_values(tag))]
    spellings = {name.strip().casefold() for name in (*left, *(tag.get("value") for tag in old))}
    found += [name for name in classes if name.casefold() in spellings - claimed]
    return list({name.casefold(): name for name in reversed(found)}.values())[::-1]


def _brings_overlap(gone: Tag, control: Tag, to: Tag) -> bool:
    """Whether a label of `control` that goes into one of `to` may overlap others, which `to` does not say."""
    return label_marks.says(gone, "overlap") or (control is not to and label_marks.may_overlap(gone, control))


def _mentions(
    root: Tag, controls: Sequence[Tag], names: Mapping[str, str], gone: Collection[int]
) -> Iterator[tuple[Tag, Mapping[str, str]]]:
    """Attributes that name labels: those of controls that show for boxes of some labels alone, whose entries
    of other names would be dropped, and the lists of a drawing control.

    gone: the ids of <Label> tags that go into others. Where one goes into a label of another control, the
    list of its own control no longer has it.
    """
    drawing = {id(control) for control in controls}
    for tag in root.iter():
        renamed = {"whenLabelValue": _listed(tag.get("whenLabelValue"), names)}
        if id(tag) in drawing:
            own = [label_name(label).strip() for label in tag.below("Label") if id(label) not in gone]
            left = {names.get(name, name) for name in own}
            kept = {old: new if new in left else "" for old, new in names.items()}
            renamed |= {attribute: _listed(tag.get(attribute), kept) for attribute in label_marks.LISTS}
        changed = {attribute: value for attribute, value in renamed.items() if value != tag.get(attribute)}
        if changed:
            yield tag, changed


def _listed(listed: str, names: Mapping[str, str]) -> str:
    """A list with commas under the new names, without those whose new name is empty."""
    parts = [listed] if listed in names else listed.split(",")
    after = dict.fromkeys(names.get(part.strip(), part) for part in parts)
    return listed if list(after) == parts else ",".join(filter(None, after))


def rename_in_results(results: object, config: RenamedConfig) -> list[Any] | None:
    """What an annotation, a draft or a prediction holds, under the new names; None when it stays as it is.

    >>> renamed = RenamedConfig("", {"cat": "feline"}, frozenset())
    >>> box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["cat"]}}
    >>> rename_in_results([box, {"type": "relation"}], renamed)[0]["value"]
    {'rectanglelabels': ['feline']}
    """
    if not isinstance(results, list):
        return None
    renamed = [_renamed(result, config) for result in results]
    return None if renamed == results else renamed


def _renamed(result: Any, config: RenamedConfig) -> Any:
    if not isinstance(result, dict) or result.get("type") != "rectanglelabels":
        return result
    value = result.get("value")
    if not isinstance(value, dict) or result.get("from_name") in tuple(config.elsewhere):
        return result
    labels = value.get("rectanglelabels")
    if not isinstance(labels, list):
        return result
    new = [config.names.get(name.strip(), name) if isinstance(name, str) else name for name in labels]
    once = labels if new == labels else [name for at, name in enumerate(new) if name not in new[:at]]
    return runner_up.renamed({**result, "value": {**value, "rectanglelabels": once}}, config.names, once)
