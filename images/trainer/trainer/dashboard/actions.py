"""The actions of the buttons. Every function returns a sentence that says what it did."""

import logging
import threading

from labelloop.choice import choose
from labelloop.errors import Explained
from labelloop.locks import Busy
from labelloop.registry import RegistryError
from labelloop.task_filters import with_prediction_of
from trainer.dashboard.loop import WatchedLoop
from trainer.peers.projects import fetch
from trainer.rounds.asking import on_the_dashboard
from trainer.rounds.table import State
from trainer.system.failures import bug, in_words
from trainer.terminal.watch import require_worker
from trainer.words import plural
from trainer.worker.adoption import adopt
from trainer.worker.prelabel import Prelabeller

log = logging.getLogger(__name__)


class Refused(Explained):
    """A button's action is impossible; the message says why."""


def retrain(loop: WatchedLoop, project_id: int, user: str) -> str:
    """Opens a round or joins the open one.

    Raises:
        WorkerGone: the worker, which would run the round, does not run. CannotWork: the round could not come
            to a result. StudioError: Label Studio does not answer.
    """
    require_worker(loop.settings.rounds_dir)
    round_, joined = loop.request_round(fetch(loop.studio, project_id), on_the_dashboard(user))
    if joined:
        return (
            f"Round {round_.called} is open already ({round_.state}); there is never more than one at a time."
        )
    return f"Round {round_.called} requested. It begins within seconds; its progress is shown below."


def cancel(loop: WatchedLoop, project_id: int) -> str:
    """Cancels the open round.

    Raises:
        Refused: no round is open. RoundError: the round ends at this moment.
    """
    open_round = loop.rounds.open_round(project_id)
    if open_round is None:
        raise Refused("No round is open; there is nothing to cancel.")
    asked = loop.rounds.cancel(open_round.id)
    if asked.state is State.CANCELLED:
        return f"Round {asked.called} cancelled before it began."
    return f"Round {asked.called} is asked to stop; that takes some seconds. The model in service stays."


def roll_back(loop: WatchedLoop, project_id: int, version: str) -> str:
    """Puts a version into service.

    Raises:
        RegistryError: there is no such version, or it is damaged.
    """
    models = loop.registry.project(project_id)
    try:
        before = models.champion()
    except RegistryError:
        before = None  # the pointer is damaged, and a roll-back repairs it
    chosen_before = choose(models, version)
    if before == version:
        return f"{version} is in service already."
    before = chosen_before
    open_round = loop.rounds.open_round(project_id)
    compared = (
        f" Round {open_round.called} is {open_round.state}; its candidate will be compared with {version}."
        if open_round
        else ""
    )
    return (
        f"In service: {version}, before: {before or 'none'}. The backend loads it within seconds, and "
        f"unlabelled images get its boxes in the background.{compared}"
    )


def take_over(loop: WatchedLoop, project_id: int) -> str:
    """Connects our ML backend to a project, whatever others it has, and takes back what a person chose in
    Label Studio, so that the model's boxes are shown as soon as they are worth it.

    Raises:
        StudioError: Label Studio does not answer or refuses. RegistryError: the model in service is damaged.
        MissingSecret: there is no BACKEND_PASSWORD.
    """
    project = fetch(loop.studio, project_id)
    connected = adopt(loop.studio, loop.settings, project_id)
    showing = loop.prelabeller().showing(project)
    theirs = showing is not None and showing.wanted(project) != showing.version
    if showing is not None and theirs:
        ready = showing.knows and loop.studio.count_tasks(project_id, with_prediction_of(showing.version))
        loop.studio.show_predictions(project_id, showing.version if ready else project.model_version)
    if not connected and not theirs:
        return "There is nothing to take over: the loop works on this project, and nobody chose other boxes."
    return (
        "Taken over. The loop works on this project within half a minute, and shows the boxes of its model "
        "as soon as that knows one of the labels. Nothing was deleted."
    )


class PreLabelling:
    """Pre-labelling begun by a button, in the background, with one run per project at a time."""

    def __init__(self, loop: WatchedLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._running: dict[int, threading.Thread] = {}
        self._stopping = threading.Event()
        self.problems: dict[int, str] = {}

    def begin(self, project_id: int) -> str:
        """Begins a run unless one is under way.

        Raises:
            Refused: there is no model yet. LeftAlone: the project has another ML backend. StudioError: Label
                Studio does not answer.
        """
        loop = self._loop
        loop.require_worked_on(fetch(loop.studio, project_id))
        version = loop.registry.project(project_id).champion()
        if version is None:
            raise Refused("There is no model yet; the starting model is being written.")
        prelabeller = loop.prelabeller()
        missing = prelabeller.missing(project_id) + len(prelabeller.unpredicted(project_id).tasks())
        if not missing:
            return f"{version} has looked at every unlabelled image already."
        with self._lock:
            thread = self._running.get(project_id)
            if thread is not None and thread.is_alive():
                return f"It is under way already; {plural(missing, 'image')} to go."
            self.problems.pop(project_id, None)
            thread = threading.Thread(target=self._run, args=(prelabeller, project_id), daemon=True)
            self._running[project_id] = thread
            thread.start()
        return f"{plural(missing, 'image')} get the boxes of {version} now; the count below shows it."

    def running(self, project_id: int) -> bool:
        """Whether a run of this project is under way."""
        thread = self._running.get(project_id)
        return thread is not None and thread.is_alive()

    def stop(self) -> None:
        """Ends the runs after their current batch. The worker does the rest."""
        self._stopping.set()

    def wait(self, seconds: float) -> None:
        """Waits up to `seconds` for each run to end."""
        for thread in list(self._running.values()):
            thread.join(seconds)

    def _run(self, prelabeller: Prelabeller, project_id: int) -> None:
        try:
            prelabeller.run(fetch(self._loop.studio, project_id), self._stopping.is_set, again=True)
        except Busy:
            log.info("project %d: the worker is pre-labelling already", project_id)
        except Exception as error:
            self.problems[project_id] = in_words(error)
            log.warning("pre-labels: %s", error, exc_info=bug(error))
        finally:
            self._loop.forget_status()
