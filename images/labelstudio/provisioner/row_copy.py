"""Rows of a table, from SQLite to PostgreSQL: what becomes of each value, and a sum that compares both."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Context
from typing import Any
from uuid import UUID

from labelloop.errors import Explained

_MODULUS = 1 << 256
_EXACT = Context(prec=200_000)


class CopyError(Explained):
    """A value that PostgreSQL can't hold; the message says where it is."""


class Columns:
    """A table's columns: names in order, and PostgreSQL's types of them."""

    def __init__(self, table: str, types: dict[str, str]) -> None:
        self.table = table
        self.names = list(types)
        self._types = list(types.values())

    @property
    def for_sums(self) -> str:
        """What to select of PostgreSQL for `sum`: JSON as its text, whose numbers no float has rounded."""
        return ", ".join(
            f'"{name}"::text' if kind == "jsonb" else f'"{name}"'
            for name, kind in zip(self.names, self._types, strict=True)
        )

    def rows(self, found: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """SQLite's rows as PostgreSQL takes them.

        Raises:
            CopyError: a value is of another type than its column, or has a null byte.
        """
        for row in found:
            columns = zip(self.names, self._types, row, strict=True)
            yield [self._value(name, kind, value) for name, kind, value in columns]

    def _value(self, name: str, kind: str, value: Any) -> Any:
        if value is None:
            return None
        try:
            converted = _TO_POSTGRES.get(kind, _same)(value)
        except (ValueError, TypeError) as error:
            raise CopyError(f"{self.table}.{name} holds {value!r:.80}, which is no {kind}") from error
        if isinstance(converted, str) and "\0" in converted:
            raise CopyError(f"{self.table}.{name} holds a null byte, which PostgreSQL takes nowhere")
        return converted

    def sum(self, found: Iterable[Sequence[Any]]) -> tuple[int, int]:
        """How many rows, and a sum of them all, whatever their order; alike for what either holds."""
        count = total = 0
        for row in found:
            texts = [_text(kind, value) for kind, value in zip(self._types, row, strict=True)]
            digest = hashlib.sha256(json.dumps(texts).encode("utf-8", "surrogatepass")).digest()
            total = (total + int.from_bytes(digest, "big")) % _MODULUS
            count += 1
        return count, total


def _text(kind: str, value: Any) -> str | None:
    """One text for equal values of either database."""
    if value is None:
        return None
    if kind == "jsonb":
        return json.dumps(json.loads(value, parse_float=_number, parse_int=_number), sort_keys=True)
    if kind == "timestamp with time zone":
        moment: datetime = datetime.fromisoformat(_moment(value)) if isinstance(value, str) else value
        return moment.astimezone(UTC).isoformat()
    if kind == "boolean":
        return str(bool(value))
    if kind == "uuid":
        return str(value if isinstance(value, UUID) else UUID(value))
    return repr(float(value)) if kind == "double precision" else str(value)


def _number(text: str) -> str:
    """One form of a number: PostgreSQL keeps its decimal digits, and writes 1e3 as 1000 and -0 as 0. The null
    byte tells it from a text, which can't have one.

    >>> _number("1e3") == _number("1000.0"), _number("-0.0") == _number("0")
    (True, True)
    """
    number = _EXACT.create_decimal(text)
    return f"\0{_EXACT.normalize(number)}" if number else "\0"


def _moment(value: str) -> str:
    """SQLite's are in UTC and don't say so."""
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _same(value: Any) -> Any:
    return value


_TO_POSTGRES: dict[str, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "timestamp with time zone": _moment,
    "uuid": lambda value: str(UUID(value)),
    "integer": int,
    "bigint": int,
    "smallint": int,
    "double precision": float,
    "text": str,
    "character varying": str,
}
