"""The buttons of the page Label errors: a doubt is settled on the spot, and what was decided is undone."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, status
from fastapi.responses import RedirectResponse, Response

from labelloop.errors import Explained
from trainer.dashboard.changes import owner_of
from trainer.dashboard.doubts import Suspect, Suspicion
from trainer.dashboard.label_errors import DECIDED, Choice, Chosen, Doubts, current_doubts, filtered
from trainer.dashboard.pages import Asked, Page
from trainer.dashboard.security import checked_form
from trainer.dataset.correcting import correction, require_known
from trainer.dataset.reviews import How, Mark, Reviews
from trainer.dataset.rewriting import (
    ONE_AT_A_TIME,
    AnnotationChanged,
    Edit,
    Json,
    annotation_now,
    rewrite,
)
from trainer.peers.projects import fetch

router = APIRouter()
log = logging.getLogger(__name__)

Form = Annotated[dict[str, str], Depends(checked_form)]

ADJUST = "adjust"


class NotHers(Explained):
    """A labeller may not change what another has labelled."""


@router.post("/label-errors/settle")
def settle(request: Request, page: Asked, choice: Chosen, form: Form) -> Response:
    """Settles one doubt. doubt: its id. how: right, accepted, deleted or relabelled; or adjust, which is
    accepted and leads on into the task in Label Studio, with the box in it.

    Raises:
        HTTPException: 400, there is no such `how`.
    """
    adjusts = form.get("how") == ADJUST
    how = How.ACCEPTED if adjusts else _how(form.get("how", ""))
    after, said, well, task = "", "", True, 0
    try:
        with ONE_AT_A_TIME:  # of two who settle one doubt, the second finds it gone
            found = _doubts(page)
            suspect, doubt = _doubt(found, form.get("doubt", ""))
            after, task = _next(found, choice, doubt), doubt.task
            _settle(page, found, suspect, doubt, how)
        said = f"Task {doubt.task}: {DECIDED[how]}."
    except (Explained, OSError) as error:
        said, well = str(error), False
    page.parts.changes.forget()
    if well and adjusts:
        return page.show("opening.html", task=task, address=page.task_url(task), text=said, choice=choice)
    return _back(request, page, choice, said, well, after)


@router.post("/label-errors/undo")
def undo(request: Request, page: Asked, choice: Chosen, form: Form) -> Response:
    """Takes back what was decided about one doubt. mark: its id."""
    try:
        with ONE_AT_A_TIME:
            said, well = _undo(page, form.get("mark", "")), True
    except (Explained, OSError) as error:
        said, well = str(error), False
    page.parts.changes.forget()
    return _back(request, page, choice, said, well, "")


def _how(text: str) -> How:
    try:
        return How(text)
    except ValueError as error:
        listed = ", ".join([*(how.value for how in How), ADJUST])
        raise HTTPException(
            status.HTTP_400_BAD_REQUEST, f"how={text[:40]!r}: found no decision; there are: {listed}"
        ) from error


def _doubts(page: Page) -> Doubts:
    """Raises AnnotationChanged, before the model in service has looked; ReviewsError."""
    page.parts.changes.forget()
    found = current_doubts(page)
    if found is None:
        raise AnnotationChanged("the model in service has not looked at the labels; look at them first")
    return found


def _doubt(found: Doubts, wanted: str) -> tuple[Suspect, Suspicion]:
    """Raises AnnotationChanged: there is no such doubt any more."""
    for suspect in found.open:
        for doubt in suspect.suspicions:
            if doubt.id == wanted:
                return suspect, doubt
    raise AnnotationChanged(
        "This doubt is gone: the label was changed, or somebody has settled it. Nothing was written."
    )


def _next(found: Doubts, choice: Choice, doubt: Suspicion) -> str:
    """The id of the doubt that the page shows behind this one; that before it, for the last one."""
    ids = [row.id for suspect in filtered(found.open, choice) for row in suspect.suspicions]
    at = ids.index(doubt.id) if doubt.id in ids else -1
    return (ids[at + 1 :] or ids[:at][-1:] or [""])[0]


def _settle(page: Page, found: Doubts, suspect: Suspect, doubt: Suspicion, how: How) -> None:
    """Writes the correction into the annotation, if there is one, and a mark.

    Raises:
        AnnotationChanged, NotHers: nothing was done. StudioError: Label Studio does not answer. ReviewsError,
        OSError: the mark cannot be written, so nothing was done either.
    """
    studio = page.loop.studio
    edit = None
    marks = Reviews(page.loop.models(found.snapshot.project).path)
    if how is How.RIGHT:
        _require_own(page, doubt.task)
    elif how not in doubt.ways:
        raise AnnotationChanged(f"that {doubt.why} is not settled so; nothing was written")
    else:
        marks.marks()  # which raises before anything is written
        config = fetch(studio, found.snapshot.project).labels
        size = suspect.image.width, suspect.image.height

        def change(annotation: Json) -> Edit:
            _require_hers(page, annotation)
            return correction(annotation["result"], config, size, how, doubt.truth, doubt.found)

        edit = rewrite(studio, doubt.task, change, page.person.email)
    mark = Mark(
        task=doubt.task,
        doubt=doubt.why,
        how=how,
        label=doubt.truth,
        model=doubt.found,
        by=page.person.email,
        out=() if edit is None else tuple(map(dict, edit.out)),
        into=() if edit is None else tuple(map(dict, edit.into)),
        annotation=None if edit is None else edit.annotation,
    )
    try:
        marks.add(mark)
    except (Explained, OSError):
        # Without a mark nobody could take it back.
        if edit is not None:
            back = edit.undone
            rewrite(studio, doubt.task, lambda _: back, page.person.email)
        raise


def _undo(page: Page, wanted: str) -> str:
    if page.models is None or page.project is None:
        raise AnnotationChanged("there is no project")
    marks = Reviews(page.models.path)
    mark = next((mark for mark in marks.marks() if mark.id == wanted), None)
    if mark is None:
        raise AnnotationChanged("This was taken back already.")
    studio = page.loop.studio
    edit = Edit(mark.out, mark.into).undone
    if edit.out or edit.into:
        config = fetch(studio, page.project).labels

        def change(annotation: Json) -> Edit:
            _require_hers(page, annotation)
            if mark.annotation not in (None, annotation["id"]):
                raise AnnotationChanged(
                    f"task {mark.task} has another annotation now, so nothing was written; open the task"
                )
            require_known(edit.into, config)
            return edit

        rewrite(studio, mark.task, change, page.person.email)
    else:
        _require_own(page, mark.task)
    marks.remove(mark.id)
    return f"Task {mark.task}: taken back."


def _require_own(page: Page, task: int) -> None:
    """Raises NotHers, AnnotationChanged, StudioError; nothing for administrators."""
    if not page.person.administrator:
        _require_hers(page, annotation_now(page.loop.studio, task))


def _require_hers(page: Page, annotation: Json) -> None:
    """As in Label Studio: administrators change any annotation, labellers their own.

    Raises:
        NotHers: a labeller has not labelled it herself.
    """
    if not page.person.administrator and owner_of(annotation) != page.person.id:
        raise NotHers(
            "Somebody else has labelled this: settling doubts about it is for her and for administrators."
        )


def _back(request: Request, page: Page, choice: Choice, said: str, well: bool, after: str) -> Response:
    request.session["said"] = {"text": said, "well": well}
    where = f"/label-errors?{choice.query(page.project)}{f'#doubt-{after}' if after else '#doubts'}"
    return RedirectResponse(where, status.HTTP_303_SEE_OTHER)
