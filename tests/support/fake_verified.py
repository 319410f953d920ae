"""What our Label Studio makes of images that were verified on the dashboard (provisioner.verified)."""

from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def take(tasks: dict[int, Row], items: list[Row], back: bool) -> Row:
    """Hands items in, or takes them back. Whose draft it is stands in its row as `user`."""
    return {
        "items": [
            {"task": item["task"], "did": (_back if back else _in)(tasks.get(item["task"]), item)}
            for item in items
        ]
    }


def _in(task: Row | None, item: Row) -> str:
    if task is None:
        return "gone"
    rows = task.setdefault("annotations", [])
    if any(row.get("unique_id") == item["unique_id"] for row in rows):
        return "submitted"
    if rows or task["total_annotations"]:
        return "labelled"
    drafts = task.setdefault("drafts", [])
    if drafts:
        mine = not item["finished"] and drafts == [_draft(item)]
        return "drafted" if mine else "begun"
    if task.get("open_before") not in (None, item["person"]):
        return "open"
    if not item["finished"]:
        drafts.append(_draft(item))
        return "drafted"
    when = datetime.now(UTC).isoformat()
    rows.append(
        {
            "id": 9000 + item["task"],
            "unique_id": item["unique_id"],
            "completed_by": item["person"],
            "updated_by": None,
            "was_cancelled": False,
            "result": item["result"],
            "lead_time": item["lead_time"],
            "parent_prediction": item["prediction"],
            "created_at": when,
            "updated_at": when,
        }
    )
    task["total_annotations"] = 1
    return "submitted"


def _draft(item: Row) -> Row:
    return {"id": 7000 + item["task"], "user": item["person"], "result": item["result"]}


def _back(task: Row | None, item: Row) -> str:
    if task is None:
        return "gone"
    if not item["finished"]:
        drafts = task.get("drafts", [])
        if not drafts:
            return "gone"
        if drafts[0]["result"] != item["result"]:
            return "changed"
        drafts.clear()
        return "taken back"
    rows = task.get("annotations", [])
    found = next((row for row in rows if row.get("unique_id") == item["unique_id"]), None)
    if found is None:
        return "gone"
    if found["result"] != item["result"] or found["updated_by"] is not None:
        return "changed"
    rows.remove(found)
    task["total_annotations"] = len(rows)
    return "taken back"
