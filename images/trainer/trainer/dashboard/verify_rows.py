"""What the page Verify's file says of pages and tasks, read within a transaction of `verify_store`."""

import json
from sqlite3 import Connection, Row

from trainer.dashboard.verify_values import Crop, Due


def crops(database: Connection, page: str) -> tuple[Crop, ...]:
    query = (
        "SELECT box.*, task.width AS wide, task.height AS high, rows FROM box JOIN task ON id = task "
        "WHERE page = ? AND answer IS NULL ORDER BY place"
    )
    return tuple(crop(row) for row in database.execute(query, (page,)))


def crop(row: Row) -> Crop:
    region = str(json.loads(row["rows"])[row["number"]].get("id"))
    place = row["x"], row["y"], row["width"], row["height"]
    size = row["wide"], row["high"]
    return Crop(
        row["place"], row["task"], row["number"], region, row["score"], *place, size, bool(row["marked"])
    )


def due(database: Connection, row: Row) -> Due:
    boxes = database.execute("SELECT * FROM box WHERE task = ?", (row["id"],)).fetchall()
    answered = [box for box in boxes if box["answer"] is not None]
    seconds = [box["seconds"] for box in answered]
    return Due(
        task=row["id"],
        unique_id=row["unique_id"],
        person=row["person"],
        prediction=row["prediction"],
        finishes=bool(row["finishes"]),
        rows=json.loads(row["rows"]),
        answers={box["number"]: (box["answer"] == "right", box["by"], box["at"]) for box in answered},
        lead_time=None if None in seconds else round(sum(seconds), 3),
    )


def note(database: Connection, name: str) -> str:
    row = database.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
    return "" if row is None else str(row[0])


def set_note(database: Connection, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))


def number(database: Connection, query: str, *values: object) -> int:
    return int(database.execute(query, values).fetchone()[0])
