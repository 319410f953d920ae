"""The first page: the current state, and the buttons."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from labelloop.registry import Card, RegistryError
from trainer.dashboard import actions, stored
from trainer.dashboard.pages import Asked, ChartTheme, Page, View
from trainer.dashboard.security import checked_form
from trainer.dashboard.training import Losses, log_tail, loss_chart, read_losses
from trainer.health.status import ProjectStatus
from trainer.rounds import heartbeat
from trainer.rounds.progress import read_progress
from trainer.rounds.table import Round, RoundError
from trainer.system.failures import EXPECTED
from trainer.terminal.watch import STAGES

router = APIRouter()


@dataclass(frozen=True)
class Button:
    """A button that controls the loop. Only administrators may press it.

    name: in the address. does: what will happen, for the page that asks for confirmation. doing: the action
    as the beginning of a sentence, as in "Rolling back".
    """

    name: str
    label: str
    does: str
    doing: str


BUTTONS = {
    button.name: button
    for button in (
        Button(
            "retrain",
            "Start a round",
            "Trains a candidate on every label submitted so far, scores it against the model in service on "
            "the hold-out, and puts it into service only if it is better.",
            doing="Starting rounds",
        ),
        Button(
            "cancel",
            "Cancel the round",
            "Stops the open round. What it has learnt so far is dropped; the model in service stays.",
            doing="Cancelling rounds",
        ),
        Button(
            "predict",
            "Pre-label now",
            "Gives every unlabelled image that lacks them the boxes of the model in service.",
            doing="Pre-labelling",
        ),
        Button(
            "rollback",
            "Roll back",
            "Puts another version of the model into service and gives every unlabelled image its boxes.",
            doing="Rolling back",
        ),
        Button(
            "adopt",
            "Take over",
            "Connects this appliance's ML backend to the project, beside any other, and shows the boxes of "
            "its model as soon as that knows one of the labels, whatever was chosen in Label Studio. Other "
            "predictions stay stored, and can be chosen again there.",
            doing="Taking over projects",
        ),
    )
}


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
    beat = heartbeat.read(rounds_dir)
    prelabels = read_progress(rounds_dir, page.project)
    champion = _champion(page)
    problem = page.parts.pre_labelling.problems.get(page.project)
    return {
        **values,
        "now": loop.project_status(page.project),
        "champion": champion,
        "standing": page.standing,
        "scored": stored.newest_evaluation(loop, page.project, champion.version) if champion else None,
        "prelabels": prelabels if prelabels and champion and prelabels.version == champion.version else None,
        "prelabel_problem": problem or (beat.errors.get("pre-labels") if beat else None),
        "shown": shown,
        "losses": losses,
        "draw": partial(loss_chart, losses),
        "log": log_tail(loop.rounds.folder(shown.id)) if shown else [],
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


@router.get("/", response_class=HTMLResponse)
def now(page: Asked) -> HTMLResponse:
    found = contents(page)
    return page.show("now.html", buttons=_fitting(found["now"]), **found)


def _fitting(project: ProjectStatus | None) -> list[Button]:
    """The buttons for a project: one that is left alone is to be taken over first."""
    if project is not None and project.left_alone:
        return [BUTTONS["adopt"]]
    theirs = project is not None and project.shows is not None
    return [button for button in BUTTONS.values() if button.name != "adopt" or theirs]


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
            said = page.parts.pre_labelling.begin(project_id)
            return said
