"""What tells an error that a person should read from a bug."""

from __future__ import annotations


class Explained(Exception):
    """Something that a person can put right or wait out: the message says what is wrong, and the way out.

    A command shows it in one line, a chore tries again, a round ends with it. Whatever else is raised is a
    bug, whose traceback goes into the log.
    """


def in_one_line(error: BaseException) -> str:
    """What is told of an error: the words of one that is Explained; of a bug its type's name, too."""
    words = " ".join(str(error).split())
    if isinstance(error, Explained):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
