"""What becomes of SQLite's values on PostgreSQL; the real databases are in tests/integration."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from provisioner.row_copy import Columns, CopyError

TYPES = {
    "id": "integer",
    "done": "boolean",
    "at": "timestamp with time zone",
    "data": "jsonb",
    "key": "uuid",
    "time": "double precision",
    "name": "text",
}
KEY = "0" * 31 + "7"
IN_SQLITE = (1, 1, "2026-03-14 09:26:53.5", '{"b": 1e3, "a": [0.10, -0.0, "1"]}', KEY, 0.1, "ü")
MOMENT = datetime(2026, 3, 14, 9, 26, 53, 500_000, UTC)
IN_POSTGRES = (1, True, MOMENT, '{"a": [0.10, 0, "1"], "b": 1000}', UUID(KEY), 0.1, "ü")


def test_both_write_a_row_in_their_own_way_and_the_sums_are_the_same() -> None:
    columns = Columns("task", TYPES)
    assert columns.sum([IN_SQLITE]) == columns.sum([IN_POSTGRES])
    assert columns.sum([IN_SQLITE] * 2 + [(None,) * 7]) == columns.sum([(None,) * 7] + [IN_POSTGRES] * 2)


@pytest.mark.parametrize("place", range(len(TYPES)))
def test_every_column_counts_in_a_sum(place: int) -> None:
    other = (2, False, MOMENT.replace(microsecond=0), '{"a": [0.10, 0, 1], "b": 1000}', UUID(int=8), 0.2, "u")
    changed = (*IN_POSTGRES[:place], other[place], *IN_POSTGRES[place + 1 :])
    columns = Columns("task", TYPES)
    assert columns.sum([changed]) != columns.sum([IN_POSTGRES])


def test_times_without_a_zone_are_in_utc() -> None:
    [row] = Columns("task", TYPES).rows([IN_SQLITE])
    assert row[:3] == [1, True, "2026-03-14T09:26:53.500000+00:00"]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("boolean", 7, "task.x holds 7, which is no boolean"),
        ("integer", "many", "task.x holds 'many', which is no integer"),
        ("timestamp with time zone", "soon", "which is no timestamp"),
        ("uuid", "u", "which is no uuid"),
        ("text", "a\0b", "task.x holds a null byte"),
    ],
)
def test_what_postgresql_cannot_hold_is_named(kind: str, value: object, words: str) -> None:
    with pytest.raises(CopyError, match=words):
        list(Columns("task", {"x": kind}).rows([(value,)]))
