"""The buttons that steer the loop, and which of them can do something now."""

from contextlib import suppress
from dataclasses import dataclass

from labelloop.registry import RegistryError
from trainer.dashboard.pages import View
from trainer.health.status import ProjectStatus
from trainer.terminal.watch import WorkerGone, require_worker

NOTHING_TO_TAKE_OVER = (
    "There is nothing to take over: the loop works on this project, and nobody chose other boxes."
)
NO_ANSWER = "Label Studio does not answer; nothing can be done here until it does. `make status` says more."


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


@dataclass(frozen=True)
class Offer:
    """A button on the first page. why_not: why it cannot be pressed now, and what to do first; None when it
    can.
    """

    button: Button
    why_not: str | None


def offers(view: View) -> list[Offer]:
    """The buttons that can do something now. The one that starts a round is there even if it cannot, with the
    reason, unless a round is open or the project is to be taken over first.
    """
    if view.project is None:
        return []
    found = [Offer(button, why_not(view, button.name)) for button in BUTTONS.values()]
    now = view.project_status
    waits = now is None or (view.loop.rounds.open_round(view.project) is None and not now.left_alone)
    return [offer for offer in found if offer.why_not is None or (offer.button.name == "retrain" and waits)]


def why_not(view: View, name: str) -> str | None:
    """Why a button can do nothing now, and what to do first; None when it can."""
    now = view.project_status
    if now is None:  # Label Studio says who may press it, too
        return NO_ANSWER
    match name:
        case "retrain":
            return _no_round(view, now)
        case "cancel":
            return _no_cancelling(view, now)
        case "predict":
            return _no_pre_labels(view, now)
        case "rollback":
            return None if _has_another_version(view) else "There is no other version."
        case _:
            return None if now.left_alone or now.shows is not None else NOTHING_TO_TAKE_OVER


def _no_round(view: View, now: ProjectStatus) -> str | None:
    running = view.loop.rounds.open_round(now.id)
    if running is not None:
        return f"Round {running.called} is open ({running.state}); there is never more than one at a time."
    try:
        require_worker(view.loop.settings.rounds_dir)
    except WorkerGone as gone:
        return str(gone)
    return now.no_round


def _no_cancelling(view: View, now: ProjectStatus) -> str | None:
    running = view.loop.rounds.open_round(now.id)
    if running is None:
        return "No round is open; there is nothing to cancel."
    return f"Round {running.called} has been asked to stop already." if running.cancel_requested else None


def _no_pre_labels(view: View, now: ProjectStatus) -> str | None:
    if now.left_alone:
        return now.left_alone
    if now.champion is None:
        return "There is no model yet; the starting model is being written."
    if now.unpredicted is None:
        return NO_ANSWER
    if view.parts.pre_labelling.running(now.id):
        return "It is under way already."
    if not now.unpredicted and not now.failed:
        return f"Every unlabelled image has the boxes of {now.champion.version} already."
    return None


def _has_another_version(view: View) -> bool:
    """Whether there is one that can be read beside the champion."""
    champion = view.champion
    for version in view.versions:
        if version != champion and view.models is not None:
            with suppress(RegistryError):
                view.models.card(version)
                return True
    return False
