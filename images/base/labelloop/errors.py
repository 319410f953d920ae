"""Tells errors that a person can act on from bugs."""

from __future__ import annotations


class Explained(Exception):
    """An error that a person can correct or wait out: the message says what is wrong, and the way out.

    A command shows it in one line, a chore tries again, a round ends with it. Any other exception is a bug,
    and its traceback is logged.
    """


def in_one_line(error: BaseException) -> str:
    """An error's message in one line. For a bug, the name of its type comes first."""
    words = " ".join(str(error).split())
    if isinstance(error, Explained):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
