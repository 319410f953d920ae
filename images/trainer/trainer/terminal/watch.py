"""Follows a round, and the pre-labelling after it, from another process."""

import time
from collections.abc import Callable
from pathlib import Path

from labelloop.errors import Explained
from labelloop.task_filters import with_prediction_of
from trainer.health import health
from trainer.loop import Loop
from trainer.peers.projects import fetch
from trainer.rounds import heartbeat
from trainer.rounds.progress import Progress, read_progress
from trainer.rounds.table import Round, Rounds, State
from trainer.terminal.display import Display, time_left
from trainer.words import plural

POLL_S = 0.5
COUNT_EVERY_S = 2.0
PATIENCE_S = 300.0

STAGES = {
    State.REQUESTED: "waiting for the worker",
    State.SNAPSHOTTING: "1/3 snapshot",
    State.TRAINING: "2/3 training",
    State.EVALUATING: "3/3 evaluation",
}


class WorkerGone(Explained):
    """The worker no longer works on what is being followed; the message says why and where to look."""


def require_worker(rounds_dir: Path) -> None:
    """Raises WorkerGone when the worker does not run."""
    beat = heartbeat.read(rounds_dir)
    if beat is None or not beat.fresh:
        raise WorkerGone(
            f"the trainer does not run: {health.worker_problems(beat)[0]}; see `make status` and `make logs`"
        )


def round_time_left(round_: Round) -> str:
    """How long a round's stage still takes, in words; "" where that is not estimated."""
    return time_left(round_.eta_seconds, measuring=round_.state is State.TRAINING)


def follow_round(
    rounds: Rounds, round_: Round, display: Display, sleep: Callable[[float], None] = time.sleep
) -> Round:
    """Shows a round's stages until it is over; returns it.

    Raises:
        WorkerGone: the worker stopped working on it.
    """
    while True:
        round_ = rounds.get(round_.id)
        if round_.closed:
            display.finish()
            return round_
        display.update(
            STAGES[round_.state],
            round_.stage_progress,
            round_.eta_seconds,
            round_.message,
            measuring=round_.state is State.TRAINING,
        )
        require_worker(rounds.root)
        sleep(POLL_S)


def show_progress(progress: Progress, display: Display) -> None:
    fraction = progress.done / progress.total if progress.total else 1.0
    message = f"{progress.done} of {progress.total} images with {progress.version}"
    display.update("pre-labels", fraction, progress.eta_seconds, message, measuring=not progress.over)


def _is_shown(loop: Loop, project_id: int, version: str) -> bool:
    """Whether the project shows the predictions that it should, or has none that it could."""
    project = fetch(loop.studio, project_id)
    showing = loop.prelabeller().showing(project)
    if showing is None or project.model_version in ("", showing.wanted(project)):
        return True
    return not loop.studio.count_tasks(project_id, with_prediction_of(version))


def _pre_label_error(beat: heartbeat.Heartbeat | None, project_id: int) -> str:
    if beat is None:
        return ""
    alone = beat.project_errors.get(str(project_id), {})
    return alone.get("pre-labels") or beat.errors.get("pre-labels", "")


def follow_predictions(loop: Loop, project_id: int, display: Display, patience_s: float = PATIENCE_S) -> None:
    """Shows the worker's pre-labelling of a project until no unlabelled task lacks the champion's prediction,
    except those that cannot be given one.

    Raises:
        WorkerGone: the worker does not run, or nothing moved for patience_s seconds.
    """
    rounds_dir, prelabeller = loop.settings.rounds_dir, loop.prelabeller()
    before, moved_at = -1, time.monotonic()
    while True:
        version = loop.models(project_id).champion()
        missing = prelabeller.missing(project_id)
        progress = read_progress(rounds_dir, project_id)
        current = progress if progress is not None and progress.version == version else None
        if not missing and (version is None or _is_shown(loop, project_id, version)):
            if current is not None and current.over and display.showing:
                show_progress(current, display)
            display.finish()
            return
        if missing != before:
            before, moved_at = missing, time.monotonic()
        require_worker(rounds_dir)
        beat = heartbeat.read(rounds_dir)
        error = _pre_label_error(beat, project_id)
        if current is not None and not error:
            show_progress(current, display)
        else:
            display.update(
                "pre-labels", 0.0, None, error or f"{plural(missing, 'image')} to go with {version}"
            )
        if time.monotonic() - moved_at > patience_s:
            raise WorkerGone(
                f"{version} still has to look at {plural(missing, 'image')}: {error or 'nothing moves'}; "
                "see `make logs`"
            )
        time.sleep(COUNT_EVERY_S)
