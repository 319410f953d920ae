"""Runs the rounds, one at a time unless a cluster trains them: begins, watches, cancels, retries, resumes."""

import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from trainer.peers.projects import NO_PROJECT
from trainer.rounds.claims import claim
from trainer.rounds.folder import LOG
from trainer.rounds.table import Round, Rounds, State, log_name
from trainer.system.children import RETRY, STOPPED, Child, Spawn, describe

log = logging.getLogger(__name__)

CANCEL_PATIENCE_S = 30.0
DEATHS_ALLOWED = 1
RETRY_PAUSES_S = (2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Running:
    """The round that runs. cancelling_since: when it was seen to be cancelled (time.monotonic()), or None."""

    round_id: int
    child: Child
    cancelling_since: float | None = None


@dataclass
class Setbacks:
    """The failures of a round under this worker.

    retries: how often a service did not answer. not_before: when it may run again, by time.monotonic().
    deaths: how often its process died.
    """

    retries: int = 0
    not_before: float = 0.0
    deaths: int = 0


class RoundRunner:
    """Runs the open rounds, oldest first, each in a separate process; a project has one open round at most.

    on_closed: called when a process has ended with its round closed. at_once: how many run beside each other.
    """

    def __init__(self, rounds: Rounds, spawn: Spawn, on_closed: Callable[[], None], at_once: int = 1) -> None:
        self._rounds = rounds
        self._spawn = spawn
        self._on_closed = on_closed
        self._at_once = at_once
        self._running: dict[int, Running] = {}
        self._setbacks: dict[int, Setbacks] = {}
        self._projects: Collection[int] | None = None

    def tend(self) -> None:
        """Watches the rounds that run, and begins the oldest that may. Mends a damaged table."""
        try:
            self._tend()
        except sqlite3.DatabaseError:
            self._rounds.mend()
            raise

    def keep_to(self, project_ids: Collection[int]) -> None:
        """Cancels the open rounds of all other projects, as these are gone. Their versions stay."""
        self._projects = project_ids
        for round_ in self._rounds.open_rounds():
            if round_.project in project_ids or round_.cancel_requested:
                continue
            log.warning("round %d of project %d: %s", round_.id, round_.project, NO_PROJECT)
            if round_.state == State.REQUESTED:
                self._rounds.move(round_.id, State.CANCELLED, verdict=NO_PROJECT)
            else:
                self._rounds.cancel(round_.id)

    def stop(self) -> None:
        """Ends the processes. Their rounds stay open, and the next worker resumes them."""
        for running in self._running.values():
            running.child.stop()

    def _tend(self) -> None:
        before = list(self._running.values())
        if len(before) < self._at_once:
            chosen = next((r for r in self._rounds.open_rounds() if self._may_run(r)), None)
            if chosen is not None:
                self._begin(chosen)
        for running in before:
            status = running.child.status()
            if status is None:
                self._running[running.round_id] = self._cancelled_in_time(running)
            else:
                del self._running[running.round_id]
                self._ended(self._rounds.get(running.round_id), status, running.child)

    def _may_run(self, round_: Round) -> bool:
        if round_.id in self._running:
            return False
        setbacks = self._setbacks.get(round_.id)
        return setbacks is None or setbacks.not_before <= time.monotonic()

    def _begin(self, chosen: Round) -> None:
        if chosen.cancel_requested:
            self._cancel(chosen)
            return
        log.info(
            "round %d of project %d: %s",
            chosen.id,
            chosen.project,
            "begins" if chosen.started_at is None else "goes on",
        )
        log_path = claim(self._rounds, chosen) / LOG
        child = self._spawn(["trainer.worker.stages", str(chosen.id)], log_path)
        self._running[chosen.id] = Running(chosen.id, child)

    def _cancelled_in_time(self, running: Running) -> Running:
        """Stops a process that has not ended CANCEL_PATIENCE_S after its round was cancelled."""
        if not self._rounds.cancel_requested(running.round_id):
            return running
        since = running.cancelling_since or time.monotonic()
        if time.monotonic() - since > CANCEL_PATIENCE_S:
            running.child.stop()
        return Running(running.round_id, running.child, since)

    def _ended(self, round_: Round, status: int, child: Child) -> None:
        if round_.closed:
            log.info("round %d: %s", round_.id, round_.verdict or round_.error or round_.state)
            self._on_closed()
        elif round_.cancel_requested:
            self._cancel(round_)
        elif status == RETRY:
            self._try_again(round_, child)
        elif status != STOPPED:
            self._died(round_, status, child)

    def _cancel(self, round_: Round) -> None:
        known = self._projects is None or round_.project in self._projects
        self._rounds.move(round_.id, State.CANCELLED, verdict="cancelled" if known else NO_PROJECT)

    def _try_again(self, round_: Round, child: Child) -> None:
        setbacks = self._setbacks.setdefault(round_.id, Setbacks())
        setbacks.retries += 1
        pause_s = RETRY_PAUSES_S[min(setbacks.retries, len(RETRY_PAUSES_S)) - 1]
        setbacks.not_before = time.monotonic() + pause_s
        log.warning("round %d: %s; again in %.0f s", round_.id, child.last_words(), pause_s)

    def _died(self, round_: Round, status: int, child: Child) -> None:
        setbacks = self._setbacks.setdefault(round_.id, Setbacks())
        setbacks.deaths += 1
        if setbacks.deaths <= DEATHS_ALLOWED:
            log.warning(
                "round %d: its process was ended by %s; taking it up again", round_.id, describe(status)
            )
            return
        reason = (
            f"its process was ended {setbacks.deaths} times, by {describe(status)}; its last words are in "
            f"{log_name(round_.id)}"
        )
        self._rounds.move(round_.id, State.FAILED, error=reason)
        log.error("round %d failed: %s: %s", round_.id, reason, child.last_words())
