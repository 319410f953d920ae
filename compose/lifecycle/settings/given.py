"""What stands on make's command line: NAME=VALUE words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from labelloop import ranges
from lifecycle.console import Failure


def given_to_make(words: str) -> list[str]:
    """`NAME=VALUE` arguments from make's MAKEOVERRIDES: a \\ before each blank and \\, each $ twice."""
    quoted = re.findall(r"(?:\\.|[^\\ ])+", words, re.DOTALL)
    return [re.sub(r"[\\$](.)", r"\1", word, flags=re.DOTALL) for word in quoted]


def parse_arguments(arguments: list[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping.

    Raises:
        Failure: one of them is something else.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(
                "the command line",
                found=repr(argument),
                needed="NAME=VALUE",
                do="`make` lists what there is.",
            )
        given[name] = value
    return given


def is_yes(given: Mapping[str, str], name: str, *, otherwise: bool = False) -> bool:
    """Whether a setting that is either yes or no says yes; `otherwise` where it isn't given.

    Raises:
        Failure: it says neither.
    """
    if name not in given:
        return otherwise
    try:
        return ranges.yes(given[name])
    except ValueError as error:
        raise Failure(name, found=repr(given[name]), needed=ranges.YES_OR_NO) from error
