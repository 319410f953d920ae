"""What befalls a caller of services and disks at any time, and what is a bug."""

from labelloop.errors import Explained

EXPECTED = (Explained, OSError)
"""To be waited out or put right: a full disk, a service that does not answer (requests raises OSErrors)."""


def in_words(error: Exception) -> str:
    """Its message; a bug's after the name of its type.

    >>> in_words(TimeoutError("no answer within 3 s")), in_words(KeyError("id"))
    ('no answer within 3 s', "KeyError: 'id'")
    """
    return str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"


def bug(error: Exception) -> Exception | None:
    """The error if it is a bug, for a log's exc_info: of what is expected, the message says enough."""
    return None if isinstance(error, EXPECTED) else error
