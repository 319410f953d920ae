"""The first page: the current state, and the buttons."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from labelloop.registry import Card, RegistryError
from trainer.dashboard import actions, stored
from trainer.dashboard.buttons import BUTTONS, Button, offers, why_not
from trainer.dashboard.pages import Asked, ChartTheme, Page, View
from trainer.dashboard.security import checked_form
from trainer.dashboard.training import Losses, loss_chart, read_log, read_losses
from trainer.rounds.progress import read_progress
from trainer.rounds.table import Round, RoundError
from trainer.system.failures import EXPECTED
from trainer.terminal.watch import STAGES, round_time_left

router = APIRouter()


def contents(page: View) -> dict[str, Any]:
    """The contents that change while the page is open."""
    loop = page.loop
    found = loop.status()
    values: dict[str, Any] = {"status": found, "now": None, "running": None, "stages": STAGES}
    if page.project is None:
        return values
    rounds_dir = loop.settings.rounds_dir
    shown = loop.rounds.open_round(page.project) or next(iter(loop.rounds.history(page.project, 1)), None)
    losses = read_losses(loop.rounds.folder(shown.id)) if shown else Losses((), (), 0)
    prelabels = read_progress(rounds_dir, page.project)
    champion = _champion(page)
    return {
        **values,
        "now": page.project_status,
        "offers": offers(page),
        "champion": champion,
        "instant": _instant(page, champion),
        "standing": page.standing,
        "scored": stored.newest_evaluation(loop, page.project, champion.version) if champion else None,
        "prelabels": prelabels if prelabels and champion and prelabels.version == champion.version else None,
        "prelabel_problem": page.parts.pre_labelling.problems.get(page.project),
        "shown": shown,
        "time_left": round_time_left(shown) if shown else "",
        "losses": losses,
        "draw": partial(loss_chart, losses),
        "log": read_log(loop.rounds, shown) if shown else None,
    }


def _champion(page: View) -> Card | None:
    """The champion's card, read anew because the status is some seconds old; None without a champion, or when
    its card is damaged.
    """
    models = page.models
    try:
        version = models.champion() if models else None
        return models.card(version) if models and version else None
    except RegistryError:
        return None


def _instant(page: View, champion: Card | None) -> Card | None:
    """The card of what was learnt at once and serves in the champion's place; None when that serves itself."""
    if page.models is None or champion is None:
        return None
    version = page.models.instant.serving(champion.version)
    try:
        return page.models.card(version) if version else None
    except RegistryError:
        return None


@router.get("/", response_class=HTMLResponse)
def now(page: Asked) -> HTMLResponse:
    return page.show("now.html", **contents(page))


@router.get("/live", response_class=HTMLResponse)
def live(page: Asked) -> HTMLResponse:
    """The part of the page that the browser fetches again and again."""
    return page.fragment("live.html", **contents(page))


@router.get("/rounds/{round_id}/loss.svg")
def loss(round_id: int, page: Asked, theme: ChartTheme) -> Response:
    return loss_chart(read_losses(page.loop.rounds.folder(_round(page, round_id).id)), theme)


def _round(page: Page, round_id: int) -> Round:
    try:
        return page.loop.rounds.get(round_id)
    except RoundError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error


def _button(page: Page, name: str) -> Button:
    """The button `name`.

    Raises:
        HTTPException: 404, there is no such button; 403, the person may not press it.
    """
    if name not in BUTTONS:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no button {name[:40]!r}")
    button = BUTTONS[name]
    page.require_administrator(button.doing)
    return button


def _require_project(page: Page) -> int:
    if page.project is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no project yet")
    return page.project


@router.get("/do/{name}", response_class=HTMLResponse)
def confirm(name: str, page: Asked) -> HTMLResponse:
    """Asks for confirmation; changes nothing."""
    button, project_id = _button(page, name), _require_project(page)
    models = page.loop.models(project_id)
    champion = _champion(page)
    cards = []
    for version in reversed(models.versions()):
        try:
            cards.append(models.card(version))
        except RegistryError:
            continue  # a version that cannot be read cannot be put into service
    return page.show(
        "confirm.html",
        button=button,
        why_not=why_not(page, name),
        champion=champion,
        cards=[card for card in cards if champion is None or card.version != champion.version],
        open_round=page.loop.rounds.open_round(project_id),
        standing=page.standing,
    )


@router.post("/do/{name}")
def do(
    name: str, request: Request, page: Asked, form: Annotated[dict[str, str], Depends(checked_form)]
) -> Response:
    """Performs the button's action. The first page then says what was done, or why not."""
    button, project_id = _button(page, name), _require_project(page)
    try:
        said, well = _do(button, project_id, page, form), True
    except EXPECTED as error:
        said, well = str(error), False
    page.loop.forget_status()
    request.session["said"] = {"text": said, "well": well}
    return RedirectResponse(f"/?project={project_id}", status.HTTP_303_SEE_OTHER)


def _do(button: Button, project_id: int, page: Page, form: dict[str, str]) -> str:
    match button.name:
        case "retrain":
            return actions.retrain(page.loop, project_id, page.person.email)
        case "cancel":
            return actions.cancel(page.loop, project_id)
        case "rollback":
            return actions.roll_back(page.loop, project_id, form.get("version", ""))
        case "adopt":
            return actions.take_over(page.loop, project_id)
        case _:
            return page.parts.pre_labelling.begin(project_id)
