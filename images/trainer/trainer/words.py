"""Counts and times in words, for messages to people."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text from elsewhere for a terminal: what would move its cursor, colour it or turn its lines around is
    written as an escape. Lines and tabs stay.

    >>> printable("a\\x1b[2Jb\\n")
    'a\\\\x1b[2Jb\\n'
    """
    return _COMMANDS.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def in_utf8(text: str) -> str:
    """Replaces lone surrogates, which stand for bytes that are not UTF-8, as JSON parsers refuse them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_of(reasons: Sequence[str], shown: int = 3) -> str:
    """The first reasons, and how many there are beside these.

    >>> first_of(["a", "b", "c", "d"])
    'a; b; c; and 1 more'
    """
    more = f"; and {len(reasons) - shown} more" if len(reasons) > shown else ""
    return "; ".join(reasons[:shown]) + more


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 image", "2 images"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def ordinal(number: int) -> str:
    """A place in a row: "1st", "2nd", "3rd", "11th"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}th" if number % 100 in (11, 12, 13) else f"{number}{ending}"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "3:05 min", "1:02 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def as_time(value: str | datetime) -> datetime:
    """A time in UTC. value: ISO 8601, or a datetime, with a time zone."""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return parsed.astimezone(UTC)


def in_utc(value: str | datetime) -> str:
    """A time for readers whose zone is not known: "2026-11-22 21:15 UTC"."""
    return as_time(value).strftime("%Y-%m-%d %H:%M UTC")


def in_this_zone(value: str | datetime) -> str:
    """A time in the zone of this process (`TZ`, else the host's), which is named: "2026-11-22 22:15 CET"."""
    return as_time(value).astimezone().strftime("%Y-%m-%d %H:%M %Z")
