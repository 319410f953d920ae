"""Junk boxes among the labels: the list on the page Label errors, and its buttons, which take them out."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, status
from fastapi.responses import RedirectResponse, Response

from labelloop.errors import Explained
from labelloop.labels import LabelConfig
from labelloop.task_filters import where
from trainer.dashboard import stored
from trainer.dashboard.pages import Asked, Page, View
from trainer.dashboard.security import checked_form
from trainer.dataset.collector import newest_submitted
from trainer.dataset.left_out import Kind
from trainer.dataset.mending import Mended, mend
from trainer.dataset.reviews import How, Mark, Reviews
from trainer.dataset.rewriting import Edit, rewrite
from trainer.dataset.snapshot import Snapshot
from trainer.peers.projects import Project, fetch
from trainer.words import plural

router = APIRouter()
log = logging.getLogger(__name__)

SHOWN = 24
AT_ONCE = 200
"""So many images are mended by one press of a button."""
KINDS = (Kind.OUTSIDE, Kind.SPECK, Kind.SLIVER, Kind.NESTED)
DOING = "Taking boxes out of annotations"
JUNK = "junk boxes"


@dataclass(frozen=True)
class JunkOfImage:
    """One image with junk boxes. reasons: what they are, in words."""

    task: int
    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """A task whose annotation has junk at this moment. size: of its image, in pixels."""

    mended: Mended
    labels: LabelConfig
    size: tuple[int, int]


def contents(page: View) -> dict[str, Any]:
    """junk: the first SHOWN images, as their annotations are now. junk_images: how many there are; those
    behind the first SHOWN are counted as the last snapshot had them.
    """
    snapshot = _newest(page)
    tasks = _tasks(snapshot)
    if snapshot is None or page.project is None or not tasks:
        return {"junk": [], "junk_images": 0}
    rows = [JunkOfImage(task, name, reasons) for task, (name, reasons) in tasks.items()]
    try:
        now = dict(_now(page, snapshot, [row.task for row in rows[:SHOWN]]))
    except Explained as error:
        log.warning("junk boxes are shown as the last snapshot had them: %s", error)
        return {"junk": rows[:SHOWN], "junk_images": len(rows)}
    shown = [
        JunkOfImage(row.task, row.name, now[row.task].mended.taken_out)
        for row in rows[:SHOWN]
        if row.task in now
    ]
    return {"junk": shown, "junk_images": len(rows) - len(rows[:SHOWN]) + len(shown)}


@router.post("/label-errors/mend")
def mend_boxes(
    request: Request, page: Asked, form: Annotated[dict[str, str], Depends(checked_form)]
) -> Response:
    """Takes the junk out of one image's annotation, or of those of the first AT_ONCE images.

    Raises:
        HTTPException: 403, the person is no administrator.
    """
    page.require_administrator(DOING)
    snapshot = _newest(page)
    tasks = list(_tasks(snapshot))
    wanted = form.get("task", "")
    if wanted:
        tasks = [task for task in tasks if str(task) == wanted]
    try:
        said, well = _mend(page, snapshot, tasks), True
    except (Explained, OSError) as error:
        said, well = str(error), False
    page.parts.changes.forget()
    request.session["said"] = {"text": said, "well": well}
    return RedirectResponse(f"/label-errors?project={page.project}", status.HTTP_303_SEE_OTHER)


def _mend(page: Page, snapshot: Snapshot | None, tasks: list[int]) -> str:
    images = boxes = 0
    marks: list[Mark] = []
    try:
        for task, listed in _now(page, snapshot, tasks) if snapshot else ():
            if (taken_out := _rewritten(page, task, listed, marks)) is None:
                continue
            images, boxes = images + 1, boxes + taken_out
            if images == AT_ONCE:
                break
    finally:
        if snapshot is not None and marks:
            Reviews(page.loop.models(snapshot.project).path).add(*marks)
    if not images:
        return "There is nothing to take out any more: the annotations were changed meanwhile."
    more = " Press again for the others." if images == AT_ONCE else ""
    return (
        f"{plural(boxes, 'box', 'boxes')} taken out of {plural(images, 'annotation')}, which the list of "
        f"what was decided takes back. The next round learns without them.{more}"
    )


def _rewritten(page: Page, task: int, listed: Listed, marks: list[Mark]) -> int | None:
    """Takes the junk out of a task's annotation, as it is at this moment, and adds a mark.

    Returns: how many boxes were taken out; None when the annotation has no junk any more.
    """
    counts: list[int] = []

    def change(annotation: Mapping[str, Any]) -> Edit | None:
        mended = mend(annotation["result"], listed.labels, listed.size)
        counts.append(len(mended.taken_out))
        return mended.edit

    edit = rewrite(page.loop.studio, task, change, page.person.email)
    if edit is None:
        return None
    rows = tuple(row for row in edit.out if isinstance(row, dict))
    marks.append(
        Mark(
            task=task,
            doubt=JUNK,
            how=How.DELETED,
            label=None,
            model=None,
            by=page.person.email,
            out=rows,
            annotation=edit.annotation,
        )
    )
    return counts[0]


def _newest(page: View) -> Snapshot | None:
    return None if page.project is None else stored.newest_snapshot(page.loop, page.project)


def _tasks(snapshot: Snapshot | None) -> dict[int, tuple[str, tuple[str, ...]]]:
    """By task, the image's name and the reasons for which boxes of it are not learned."""
    found: dict[int, tuple[str, tuple[str, ...]]] = {}
    for row in snapshot.boxes_left_out if snapshot else ():
        if row.kind in KINDS:
            name, reasons = found.get(row.task, (row.url or "", ()))
            found[row.task] = name, (*reasons, f"{row.kind}: {row.reason}")
    return dict(sorted(found.items()))


def _now(page: View, snapshot: Snapshot, tasks: list[int]) -> Iterator[tuple[int, Listed]]:
    """Of the tasks, those whose annotation has junk at this moment.

    Raises:
        StudioError: Label Studio does not answer. LabelConfigError: the project draws no boxes any more.
    """
    wanted = set(tasks)
    sizes = {image.task: (image.width, image.height) for image in snapshot.images if image.task in wanted}
    project: Project = fetch(page.loop.studio, snapshot.project)
    for first in range(0, len(tasks), SHOWN):
        chosen = where("id", "in_list", tasks[first : first + SHOWN], "List")
        for task in page.loop.studio.iter_tasks(project.id, chosen, fields="all", omit="drafts,predictions"):
            number = int(task["id"])
            annotation = newest_submitted(task.get("annotations"))
            if annotation is None or number not in sizes or not isinstance(annotation.get("result"), list):
                continue
            mended = mend(annotation["result"], project.labels, sizes[number])
            if mended.taken_out:
                yield number, Listed(mended, project.labels, sizes[number])
