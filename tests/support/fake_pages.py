"""Tasks by the page and their counts, as our Label Studio's module `task_pages` tells of them."""

from collections.abc import Container, Mapping

from support.answering import Answer, Row


def listed(tasks: Mapping[int, Row], project: int, query: Mapping[str, list[str]]) -> list[Row]:
    """The tasks of the page that is asked for."""
    found = [
        tasks[number]
        for number in sorted(tasks)
        if tasks[number]["project"] == project
        and number > int(query["after"][0])
        and (tasks[number]["total_annotations"] or "labelled" not in query)
    ]
    return found[: int(query["limit"][0])]


def counts(tasks: Mapping[int, Row], projects: Container[int], project: int) -> Answer:
    if project not in projects:
        return 404, {"detail": "Not found."}
    ours = [task for task in tasks.values() if task["project"] == project]
    return 200, {"tasks": len(ours), "labelled": sum(bool(task["total_annotations"]) for task in ours)}
