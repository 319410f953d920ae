"""Tells failures of services and disks, which may occur at any time, from bugs."""

from labelloop.errors import Explained

EXPECTED = (Explained, OSError)
"""Failures that pass or that a person corrects: a full disk, a service that does not answer (requests raises
OSErrors)."""


def in_words(error: Exception, expected: tuple[type[Exception], ...] = EXPECTED) -> str:
    """The error's message. If it is none of those expected, the name of its type comes first.

    >>> in_words(TimeoutError("no answer within 3 s")), in_words(KeyError("id"))
    ('no answer within 3 s', "KeyError: 'id'")
    """
    return str(error) if isinstance(error, expected) else f"{type(error).__name__}: {error}"


def bug(error: Exception) -> Exception | None:
    """The error if it is a bug, for a log's exc_info. For an expected failure the message says enough."""
    return None if isinstance(error, EXPECTED) else error
