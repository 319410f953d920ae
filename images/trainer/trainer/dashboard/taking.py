"""The part of Downloads about a model to take along: `make model`, by buttons."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from labelloop.registry import RegistryError
from trainer.dashboard.archive import Archive
from trainer.dashboard.pages import Asked, Page
from trainer.dashboard.security import checked_form, csrf_token
from trainer.dashboard.takeaways import AtWork
from trainer.dataset.exported_images import ExportedFile, pieces_of
from trainer.takeaway.forms import ABOUT, Format, There, there

router = APIRouter()

DOWNLOADING = "Downloading models and datasets"


@router.get("/downloads/model", response_class=HTMLResponse)
def part(page: Asked) -> HTMLResponse:
    return page.fragment("take_along.html", csrf=csrf_token(page.request), **take_along(page))


def take_along(page: Page) -> dict[str, Any]:
    """What the part shows."""
    forms = [(form, about.purpose, about.int8) for form, about in ABOUT.items()]
    values: dict[str, Any] = {"forms": forms, "versions": [], "taken": [], "work": None}
    if page.project is None:
        return values
    models, take_aways = page.loop.models(page.project), page.parts.take_aways
    versions = models.versions()[::-1]
    in_service = models.in_service()
    work = take_aways.work
    return values | {
        "versions": sorted(versions, key=lambda version: version != in_service),
        "in_service": in_service,
        "taken": _taken(page),
        "work": work if work is None or work.project == page.project else None,
        "told": take_aways.told.get(page.project),
        "refused": take_aways.problems.get(page.project),
    }


@router.post("/downloads/model")
def begin(page: Asked, form: Annotated[dict[str, str], Depends(checked_form)]) -> Response:
    """Begins to make one."""
    page.require_administrator(DOWNLOADING)
    if page.project is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no project in which boxes are drawn")
    version, wanted, int8 = form.get("version", ""), form.get("format", ""), form.get("int8") == "1"
    if wanted not in set(Format):
        raise HTTPException(
            status.HTTP_400_BAD_REQUEST, f"format={wanted[:40]!r}: one of {', '.join(Format)}"
        )
    try:
        page.loop.models(page.project).check(version)
    except RegistryError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    try:
        page.parts.take_aways.begin(page.project, version, Format(wanted), int8)
    except AtWork as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from error
    return RedirectResponse(f"/downloads?project={page.project}#model", status.HTTP_303_SEE_OTHER)


@router.get("/downloads/model/{version}-{form}.zip")
def archive(version: str, form: str, page: Asked) -> StreamingResponse:
    """One that was made."""
    page.require_administrator(DOWNLOADING)
    found = next((one for one in _taken(page) if one.key == f"{version}-{form}"), None)
    if found is None:
        why = f"{version[:20]} was not taken along as {form[:40]!r}; Downloads has a button for it"
        raise HTTPException(status.HTTP_404_NOT_FOUND, why)
    top = f"labelloop-{page.project}-{found.key}"
    files = (ExportedFile(f"{top}/{path.name}", pieces_of(path)) for path in sorted(found.folder.iterdir()))
    return Archive(f"{top}.zip", files, page.require_still)


def _taken(page: Page) -> list[There]:
    """Those that were made of the project's versions. Others may lie there under its number, of a project
    that had it before.
    """
    if page.project is None:
        return []
    models = page.loop.models(page.project)
    there_are = set(models.versions())
    weights = {card.version: card.weights_sha256 for card in models.cards() if card.version in there_are}
    return [
        one
        for one in there(page.loop.settings.rounds_dir, page.project)
        if one.version in weights and one.weights in (None, weights[one.version])
    ]
