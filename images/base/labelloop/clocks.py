"""Clocks that differ, or were wrong: moments that are in the future, or about the same."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

# The host's own Python, which reads this, too, may be 3.9 and lack datetime.UTC.
UTC = timezone.utc  # noqa: UP017

LEEWAY = timedelta(minutes=1)
"""The clocks of two programs may differ by so much. Whoever must miss no change asks for so much more, and
what is dated later than this from now was dated while the clock was ahead.
"""
LEEWAY_S = LEEWAY.total_seconds()
EVER = datetime.fromtimestamp(0, UTC)


def is_ahead(moment: datetime) -> bool:
    """Whether a moment is in the future. moment: with a time zone."""
    return moment > datetime.now(UTC) + LEEWAY
