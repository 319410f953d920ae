"""The buttons: what each would do, and does. Every function returns what it did, in a sentence."""

import logging
import threading

from labelloop.errors import Explained
from labelloop.locks import Busy
from labelloop.registry import RegistryError
from trainer.dashboard.loop import WatchedLoop
from trainer.peers.projects import fetch
from trainer.rounds.table import State
from trainer.system.failures import bug, in_words
from trainer.terminal.watch import require_worker
from trainer.words import plural
from trainer.worker.prelabel import Prelabeller

log = logging.getLogger(__name__)


class Refused(Explained):
    """The button could not do it; the message says why."""


def retrain(loop: WatchedLoop, project_id: int, user: str) -> str:
    """Opens a round or joins the open one.

    Raises:
        WorkerGone: nobody would work on it.
    """
    require_worker(loop.settings.rounds_dir)
    round_, joined = loop.rounds.request(project_id, f"dashboard, {user}"[:100])
    if joined:
        return f"Round {round_.id} is open already ({round_.state}); there is never more than one at a time."
    return f"Round {round_.id} requested. It begins within seconds; its progress is shown below."


def cancel(loop: WatchedLoop, project_id: int) -> str:
    """Raises Refused, or RoundError when the round ends at this very moment."""
    open_round = loop.rounds.open_round(project_id)
    if open_round is None:
        raise Refused("No round is open; there is nothing to cancel.")
    asked = loop.rounds.cancel(open_round.id)
    if asked.state is State.CANCELLED:
        return f"Round {asked.id} cancelled before it began."
    return f"Round {asked.id} is asked to stop; that takes some seconds. The model in service stays."


def roll_back(loop: WatchedLoop, project_id: int, version: str) -> str:
    """Raises RegistryError when there is no such version, or it is damaged."""
    models = loop.registry.project(project_id)
    try:
        before = models.champion()
    except RegistryError:
        before = None  # a damaged pointer is what this mends
    if before == version:
        return f"{version} is in service already."
    models.check(version)
    before = models.promote(version)
    open_round = loop.rounds.open_round(project_id)
    compared = (
        f" Round {open_round.id} is {open_round.state}; its candidate will be compared with {version}."
        if open_round
        else ""
    )
    return (
        f"In service: {version}, before: {before or 'none'}. The backend loads it within seconds, and "
        f"unlabelled images get its boxes in the background.{compared}"
    )


class PreLabelling:
    """Pre-labelling that a button began, one run a project at a time, in the background."""

    def __init__(self, loop: WatchedLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._running: dict[int, threading.Thread] = {}
        self._stopping = threading.Event()
        self.problems: dict[int, str] = {}

    def begin(self, project_id: int) -> str:
        """Raises Refused, or StudioError when Label Studio does not answer."""
        loop = self._loop
        version = loop.registry.project(project_id).champion()
        if version is None:
            raise Refused("There is no model yet; the starting model is being written.")
        prelabeller = Prelabeller(loop.studio, loop.backend, loop.registry, loop.settings.rounds_dir)
        missing = prelabeller.missing(project_id, version)
        if not missing:
            return f"Every unlabelled image has the boxes of {version} already."
        with self._lock:
            thread = self._running.get(project_id)
            if thread is not None and thread.is_alive():
                return f"It is under way already; {plural(missing, 'image')} to go."
            self.problems.pop(project_id, None)
            thread = threading.Thread(target=self._run, args=(prelabeller, project_id), daemon=True)
            self._running[project_id] = thread
            thread.start()
        return f"{plural(missing, 'image')} get the boxes of {version} now; the count below shows it."

    def stop(self) -> None:
        """Ends what runs after its present batch; the worker goes on with the rest."""
        self._stopping.set()

    def wait(self, seconds: float) -> None:
        """For what runs."""
        for thread in list(self._running.values()):
            thread.join(seconds)

    def _run(self, prelabeller: Prelabeller, project_id: int) -> None:
        try:
            prelabeller.run(fetch(self._loop.studio, project_id), self._stopping.is_set)
        except Busy:
            log.info("project %d: the worker is pre-labelling already", project_id)
        except Exception as error:
            self.problems[project_id] = in_words(error)
            log.warning("pre-labels: %s", error, exc_info=bug(error))
        finally:
            self._loop.forget_status()
