"""Counts and times in words, for messages to people."""


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 image", "2 images"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "3:05 min", "1:02 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"
