"""Tells failures of services and disks, which may occur at any time, from bugs."""

import errno

from labelloop.errors import Explained

TRACEBACK = "Traceback (most recent call last)"
BRIEF = 160
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""The numbers of an OSError when a disk takes nothing more."""
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


class Unforeseen(Exception):
    """A fault in another process that nobody foresaw; the message is what `brief` would say of it."""


def brief(error: Exception) -> str:
    """What kind of fault it is, for the brackets of a sentence: one short line, without a traceback.

    PyTorch puts the traceback of another process into its errors' messages.

    >>> brief(KeyError("id"))
    "KeyError: 'id'"
    >>> brief(RuntimeError(f"no worker {TRACEBACK}: and more"))
    'RuntimeError: no worker'
    """
    words = str(error) if isinstance(error, Unforeseen) else f"{type(error).__name__}: {error}"
    return without_traceback(words)


def without_traceback(words: str) -> str:
    """The words before a traceback, in one line of at most BRIEF characters.

    >>> without_traceback("KeyError: 'id' Traceback (most recent call last):   File ...")
    "KeyError: 'id'"
    """
    kept = words.partition(TRACEBACK)[0].strip().removesuffix("Original").rstrip(" :;")
    line = " ".join(kept.split())
    return line if len(line) <= BRIEF else f"{line[:BRIEF]}…"
