"""Rounds and versions: start one, cancel it, list what came of them, go back."""

import time

from labelloop.choice import choose
from labelloop.registry import RegistryError
from trainer.cli.command import ProjectOption, command, connect, fail
from trainer.judging.standing import standing
from trainer.loop import Loop
from trainer.rounds.asking import RETRAIN
from trainer.rounds.folder import LOG
from trainer.rounds.table import Round, State
from trainer.terminal import render
from trainer.terminal.display import Display, make_console
from trainer.terminal.watch import follow_predictions, follow_round, require_worker
from trainer.words import ordinal, plural

CANCEL_WAIT_S = 60.0
SERVING_WAIT_S = 30.0


@command
def retrain(project: ProjectOption = None) -> None:
    """Train on the labels so far; shows the round until its verdict and the new pre-labels."""
    loop = connect()
    chosen = loop.project(project)
    loop.require_worked_on(chosen)
    require_worker(loop.settings.rounds_dir)
    round_, joined = loop.request_round(chosen, RETRAIN)
    with Display() as display:
        doing = f"is open ({round_.state}); joining it" if joined else "requested"
        its = "" if round_.nth == round_.id else f", its {ordinal(round_.nth)},"
        display.say(f"Round {round_.id} of project {chosen.id} ({chosen.title}){its} {doing}.")
        try:
            round_ = follow_round(loop.rounds, round_, display)
            _say_verdict(loop, round_, display)
            if round_.state == State.PROMOTED:
                follow_predictions(loop, chosen.id, display)
                render.without_boxes(loop.prelabeller().unpredicted(chosen.id).failures(), display.console)
        except KeyboardInterrupt:
            if round_.closed:
                display.say("Detached: pre-labelling goes on.")
            else:
                display.say(
                    f"Detached: round {round_.id} goes on. `make retrain` shows it again, "
                    "`make cancel` cancels it."
                )


def _say_verdict(loop: Loop, round_: Round, display: Display) -> None:
    log = loop.shown(loop.rounds.folder(round_.id) / LOG)
    if round_.state == State.FAILED:
        raise fail(f"round {round_.id} failed: {round_.error}\nIts log is {log}")
    if round_.state == State.CANCELLED:
        raise fail(f"round {round_.id}: {round_.verdict or 'cancelled'}")
    display.say(round_.verdict or str(round_.state))


@command
def cancel(project: ProjectOption = None) -> None:
    """Cancel the open round."""
    loop = connect()
    chosen = loop.project(project)
    round_ = loop.rounds.open_round(chosen.id)
    with Display() as display:
        if round_ is None:
            display.say(f"Project {chosen.id} ({chosen.title}) has no open round.")
            return
        round_ = loop.rounds.cancel(round_.id)
        deadline = time.monotonic() + CANCEL_WAIT_S
        while not round_.closed:
            require_worker(loop.settings.rounds_dir)
            if time.monotonic() > deadline:
                raise fail(f"round {round_.id} has not stopped after {CANCEL_WAIT_S:.0f} s; see `make logs`")
            display.update("cancelling", round_.stage_progress, None, f"round {round_.id} is {round_.state}")
            time.sleep(0.5)
            round_ = loop.rounds.get(round_.id)
        display.finish()
        display.say(f"Round {round_.called}: {round_.verdict or round_.error or round_.state}")


@command
def models(project: ProjectOption = None) -> None:
    """Every version of the model, oldest first."""
    loop = connect()
    chosen = loop.project(project)
    versions = loop.models(chosen.id)
    found = standing(versions, loop.rounds, chosen.id)
    render.models(versions, found, chosen.title, make_console())


@command
def rollback(version: str, project: ProjectOption = None) -> None:
    """Put VERSION in service."""
    loop = connect()
    chosen = loop.project(project)
    versions = loop.models(chosen.id)
    before = _champion(loop, chosen.id)
    with Display() as display:
        chosen_before = choose(versions, version)
        if before == version:
            display.say(f"{version} is in service already.")
            return
        before = chosen_before
        display.say(f"In service in project {chosen.id} ({chosen.title}): {before or 'none'} → {version}")
        open_round = loop.rounds.open_round(chosen.id)
        if open_round is not None:
            display.say(
                f"Round {open_round.called} is {open_round.state}; "
                f"its candidate will be compared with {version}."
            )
        classes = versions.card(version).classes
        loop.backend.wait_for(chosen.id, version, classes, SERVING_WAIT_S, lambda: False)
        missing = loop.prelabeller().missing(chosen.id)
        display.say(
            f"The backend serves it. {plural(missing, 'unlabelled image')} will get boxes in the background."
            if missing
            else "The backend serves it, and it has looked at every unlabelled image."
        )


def _champion(loop: Loop, project_id: int) -> str | None:
    try:
        return loop.models(project_id).champion()
    except RegistryError:
        return None
