"""The page Verify: crops of boxes of which the model in service is sure, "all right but these"."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from labelloop.errors import Explained
from labelloop.images import ImageError
from labelloop.studio import StudioError
from trainer.dashboard import crops, sure
from trainer.dashboard.crops import Frame
from trainer.dashboard.model import chosen_card, scored_of
from trainer.dashboard.pages import Asked, Page
from trainer.dashboard.security import checked_form, csrf_token
from trainer.dashboard.verify_store import CROPS
from trainer.dashboard.verify_values import Crop
from trainer.dashboard.verify_values import Page as Crops
from trainer.dashboard.verifying import Sought
from trainer.peers.projects import fetch

router = APIRouter()

KEYS = "abcdefghijklmnopqrstuvwx"
"""The key of each crop, in their order."""

Form = Annotated[dict[str, str], Depends(checked_form)]


@dataclass(frozen=True)
class Shown:
    """One crop on the page. address: of its picture."""

    crop: Crop
    key: str
    frame: Frame
    address: str

    @property
    def row(self) -> dict[str, object]:
        """It as JSON; the box in pixels of the upright image."""
        wide, high = self.crop.size
        x1, y1 = self.frame.left + self.frame.x, self.frame.top + self.frame.y
        return {
            "number": self.crop.place,
            "task": self.crop.task,
            "region": self.crop.region,
            "score": self.crop.score,
            "xyxy": [x1, y1, x1 + self.frame.width, y1 + self.frame.height],
            "width": wide,
            "height": high,
            "wrong": self.crop.marked,
            "picture": self.address,
        }


def contents(page: Page, label: str | None) -> dict[str, Any]:
    """The page's contents. crops: those before the person, None without any; then `empty` says why."""
    card = chosen_card(page, None)
    scored = scored_of(page, card)
    values: dict[str, Any] = {
        "card": card,
        "labels": {},
        "label": label,
        "crops": None,
        "found": (),
        "reading": False,
    }
    values |= {"sure": sure.SURE, "worth": sure.WORTH_A_LOOK, "last": None, "problem": None}
    if page.project is None or card is None or scored is None:
        return {
            **values,
            "empty": "no round has scored the model in service yet. Once one has, this page has what the "
            "model is sure of.",
        }
    least: dict[str, float] = {}
    project = page.parts.verifying.of(page.project)
    try:
        asked = fetch(page.loop.studio, page.project)
        least = sure.limits(scored.evaluation, asked.labels)
        if least:
            project.go_on()
            project.look_for(Sought(asked, card, least), label)
        person = page.person
        found = project.page(person.id, person.email, label)
        if (
            found is None and label is not None and not project.reading
        ):  # no more of this label: keys alone lead on to the next
            found = project.page(person.id, person.email, None)
    except Explained as error:
        return {**values, "problem": str(error), "empty": None}
    values["labels"] = _labels(project.store.ready(), found)
    values |= {"last": project.store.last_answered(page.person.id), "problem": project.problem}
    values |= {"reading": project.reading, "limits": least}
    if found is None:
        return {**values, "empty": _why_empty(page, least, scored.evaluation.boxes, label, project.reading)}
    return {**values, "crops": found, "label": found.label, "found": _shown(page, found), "empty": None}


def _labels(ready: dict[str, int], found: Crops | None) -> dict[str, int]:
    """By label, how many boxes there are for this person, those before her among them."""
    if found is not None:
        ready[found.label] = ready.get(found.label, 0) + len(found.crops)
    return dict(sorted(ready.items()))


def _why_empty(page: Page, least: dict[str, float], boxes: int, label: str | None, reading: bool) -> str:
    if not least:
        return (
            f"on the hold-out ({boxes} labelled boxes) the model in service has no label of which "
            f"{sure.SURE:.0%} of its boxes are right from some score on, for which it takes nine boxes at "
            "least. More labels, and each better version, change that."
        )
    if reading:
        return "the images are being looked through."
    of = f"of {label} " if label else ""
    return (
        f"of the images that nobody has labelled, none is left with a box {of}that is sure and that nobody "
        "has answered or has before her. Images in which the model also sees something that it is not sure "
        "of have to be opened anyway, and are not asked about. A new version, or new images, bring more."
    )


def _shown(page: Page, found: Crops) -> list[Shown]:
    rows = []
    for crop in found.crops:
        place = crop.x, crop.y, crop.width, crop.height
        query = urlencode({"project": page.project, "of": crop.region})
        address = f"/verify/crops/{crop.task}/{crop.number}.jpg?{query}"
        rows.append(Shown(crop, KEYS[crop.place - 1], Frame.around(place, crop.size), address))
    return rows


@router.get("/verify", response_class=HTMLResponse)
def show(page: Asked, label: str = "") -> HTMLResponse:
    return page.show("verify.html", **contents(page, label or None))


@router.get("/verify/state", response_class=HTMLResponse)
def state(page: Asked) -> HTMLResponse:
    """Whether images are being looked through: the part of an empty page that is fetched again and again."""
    reading = chosen_card(page, None) is not None and page.parts.verifying.of(_project(page)).reading
    return page.fragment("verify_state.html", reading=reading)


@router.get("/verify.json")
def as_json(page: Asked, label: str = "") -> JSONResponse:
    """The page for programs: the same crops, before the same person."""
    told = contents(page, label or None)
    found = told["crops"]
    return JSONResponse(
        {
            "page": found.id if found else None,
            "label": told["label"],
            "crops": [shown.row for shown in told["found"]],
            "labels": told["labels"],
            "empty": told["empty"] or told["problem"],
            "looking": told["reading"],
            "csrf": csrf_token(page.request),
        }
    )


@router.post("/verify")
def answer(request: Request, page: Asked, form: Form, label: str = "") -> Response:
    """Takes a page's answers. page: its id. wrong-<number>: a crop that is wrong. seconds: that the person
    looked at it, if her browser knows.
    """
    wrong = {int(name.removeprefix("wrong-")) for name in form if name.removeprefix("wrong-") in _PLACES}
    try:
        of = page.parts.verifying.of(_project(page))
        said = of.answer(form.get("page", ""), page.person.id, wrong, _seconds(form.get("seconds", "")))
        well = True
    except Explained as error:
        said, well = str(error), False
    return _back(request, page, label, said, well)


@router.post("/verify/undo")
def undo(request: Request, page: Asked, form: Form) -> Response:
    """Takes back the page that the person answered last, and shows it again."""
    try:
        said, well = page.parts.verifying.of(_project(page)).undo(page.person.id), True
    except StudioError as error:
        said, well = f"It is taken back as soon as Label Studio answers: {error}", False
    except Explained as error:
        said, well = str(error), False
    return _back(request, page, "", said, well)


@router.get("/verify/crops/{task}/{number}.jpg")
def picture(task: int, number: int, page: Asked) -> Response:
    """A box's crop.

    Raises:
        HTTPException: 404, there is no such box, or its image cannot be had.
    """
    known = page.parts.verifying.of(_project(page)).store.image(task, number)
    if known is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no box {number} of task {task} to verify")
    try:
        jpeg = crops.crop(*known, task, page.loop.settings)
    except ImageError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


_PLACES = {str(place) for place in range(1, CROPS + 1)}


def _project(page: Page) -> int:
    if page.project is None or chosen_card(page, None) is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no project with a model in service")
    return page.project


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _back(request: Request, page: Page, label: str, said: str, well: bool) -> Response:
    request.session["said"] = {"text": said, "well": well}
    query = {"project": page.project} | ({"label": label} if label else {})
    return RedirectResponse(f"/verify?{urlencode(query)}", status.HTTP_303_SEE_OTHER)
