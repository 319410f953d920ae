"""The words on a box whose runner-up label is close. They stand in its region's meta, which Label Studio
shows beside a selected box; `editor.js` reads them there, and puts the label and its key on the box itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from labelloop.region_meta import meta_of

_WORDS = re.compile(r"or (.+), (\d\.\d\d)", re.DOTALL)


def words(label: str, score: float) -> str:
    """
    >>> words("king", 0.41)
    'or king, 0.41'
    """
    return f"or {label}, {score:.2f}"


def noted(regions: Iterable[Mapping[str, Any]], notes: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Regions with their words; an empty one adds nothing."""
    for region, note in zip(regions, notes, strict=True):
        yield {**region, **({"meta": {"text": [note]}} if note else {})}


def renamed(region: Mapping[str, Any], names: Mapping[str, str], own: Collection[str]) -> dict[str, Any]:
    """A region whose words name its runner-up by the new name. own: the region's labels; if the runner-up has
    become one of them, the words go. Other words stay.

    >>> region = {"id": "a", "meta": {"text": ["or king, 0.41"]}}
    >>> renamed(region, {"king": "monarch"}, ["ace"])
    {'id': 'a', 'meta': {'text': ['or monarch, 0.41']}}
    >>> renamed(region, {"king": "ace"}, ["ace"])
    {'id': 'a'}
    """
    meta = meta_of(region)
    text = meta.get("text")
    found = (
        _WORDS.fullmatch(text[0]) if isinstance(text, list) and text and isinstance(text[0], str) else None
    )
    if not isinstance(text, list) or not found or found[1] not in names:
        return dict(region)
    new = names[found[1]]
    said = [*([] if new in own else [f"or {new}, {found[2]}"]), *text[1:]]
    left = {**meta, "text": said} if said else {key: value for key, value in meta.items() if key != "text"}
    without = {key: value for key, value in region.items() if key != "meta"}
    return {**without, "meta": left} if left else without
