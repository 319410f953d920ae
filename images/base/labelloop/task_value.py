"""What `$…` in a label config stands for: a value in a task's data, found as the editor finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The editor's own expression, whose letters are ASCII's. `{{…}}` is a <Repeater>'s counter.
REFERENCE = re.compile(r"\$([\w\[\].{}]+)", re.ASCII)
_STEP = re.compile(r"[^.\[\]]+")


def key_of(value: str) -> str:
    """The key or path that a tag's value names first, without its `$`; empty when it names none.

    >>> key_of("$meta.photo"), key_of("https://example.org/$name"), key_of("image")
    ('meta.photo', 'name', '')
    """
    named = REFERENCE.search(value)
    return named[1] if named else ""


def look_up(data: object, path: str) -> Any:
    """The value at a path such as `photo`, `meta.photo` or `images[0]`; None when there is none.

    A key that is spelt as the whole path comes first.

    >>> look_up({"meta": {"photos": ["a.jpg", "b.jpg"]}}, "meta.photos[1]")
    'b.jpg'
    """
    if isinstance(data, Mapping) and path in data:
        return data[path]
    for step in _STEP.findall(path):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def fill_in(value: str, data: object) -> Any:
    """A tag's value for a task: what it names, or its text with each `$key` in it replaced.

    None when the data lack a key that it names.

    >>> fill_in("$photo", {"photo": "a.jpg"}), fill_in("https://example.org/$name", {"name": "a.jpg"})
    ('a.jpg', 'https://example.org/a.jpg')
    """
    whole = REFERENCE.fullmatch(value)
    if whole:
        return look_up(data, whole[1])
    found = {path: look_up(data, path) for path in REFERENCE.findall(value)}
    if None in found.values():
        return None
    return REFERENCE.sub(lambda match: str(found[match[1]]), value)


def put(path: str, value: object) -> dict[str, Any]:
    """The data of a task that holds nothing but a value at a path.

    >>> put("meta.photo", "a.jpg"), put("images[0]", "a.jpg")
    ({'meta': {'photo': 'a.jpg'}}, {'images': ['a.jpg']})
    """
    steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)
    made: Any = value
    for index, key in reversed(steps):
        made = {key: made} if key else [*[None] * int(index), made]
    return dict(made)
