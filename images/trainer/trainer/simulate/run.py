"""One simulated run, with one order and one seed: from the first label of a project to its last round."""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from labelloop.registry import STARTING_VERSION, ProjectModels
from trainer.judging.effort import Work
from trainer.loop import Loop
from trainer.rounds import heartbeat
from trainer.rounds.folder import LOG
from trainer.rounds.progress import progress_path
from trainer.rounds.table import Round, RoundError, State
from trainer.simulate import left
from trainer.simulate.account import Account, signed_up
from trainer.simulate.batch import Batch, Labeller
from trainer.simulate.clock import Clock
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.figures import OneRound, RunFigures, Step, single_round
from trainer.simulate.instant import Instant
from trainer.simulate.models import Score, Scorer
from trainer.simulate.options import Options
from trainer.simulate.patience import PAUSES_S, patiently
from trainer.simulate.project import LabellingProject
from trainer.simulate.promotions import Promotion, undone
from trainer.simulate.round_plan import AsItself, Planned, Schedule
from trainer.simulate.signals import uninterrupted
from trainer.simulate.trying import Trying
from trainer.simulate.verifier import Verifier
from trainer.simulate.verify_page import logged_in
from trainer.simulate.work_done import Effort
from trainer.terminal.display import Display
from trainer.terminal.watch import WorkerGone, follow_predictions, follow_round, require_worker

START_WAIT_S = 300.0
SHOWN_WAIT_S = 60.0
CLOSE_WAIT_S = 90.0
POLL_S = 0.5
REQUESTED_BY = "labelloop simulate"
ROUND_OVER = (State.PROMOTED, State.KEPT)


@dataclass
class World(Loop):
    """The loop's parts, and a display."""

    display: Display


def learner(world: World, project_id: int) -> Callable[[], object]:
    """What has the stack learn at once from all that is submitted in a project."""
    from trainer.worker.learn_now import LearnNow  # brings torch along

    learn = LearnNow(world.settings, world.studio, world.backend, project_id)
    # It goes on where it stopped. All but the storing of boxes was repeated before, so once more will do.
    return lambda: patiently(learn, world.display.say, PAUSES_S[:1])


class Run:
    """Labels, trains and measures. `figures` holds the result when `steps` is exhausted."""

    def __init__(
        self, world: World, dataset: Dataset, scorer: Scorer, options: Options, order: str, seed: int
    ) -> None:
        self._world = world
        self._dataset = dataset
        self._scorer = scorer
        self._options = options
        self._order = order
        self._seed = seed
        self._labelled: list[TrueImage] = []
        self._efforts: list[Effort] = []
        self._promotions: list[Promotion] = []
        self._in_service = STARTING_VERSION
        self._person = options.costs
        self._clock = Clock()
        self._instant: Instant | None = None
        self._account: Account | None = None
        self.figures: RunFigures | None = None

    def steps(self) -> Generator[Step, None, None]:
        """Runs the simulation; yields each step when it is over.

        Raises:
            SimulationError: see there. StudioError: Label Studio does not answer. WorkerGone: the worker does
                not run.
        """
        steps: list[Step] = []
        with self._project() as project:
            models = self._world.registry.project(project.id)
            for step in self._steps(project, models):
                steps.append(step)
                yield step
            start = models.card(STARTING_VERSION)
            self.figures = RunFigures(
                self._order,
                self._seed,
                tuple(steps),
                self._one_round(models, steps),
                start.detector,
                start.start_weights,
                self._person,
                tuple(self._efforts),
                tuple(self._instant.seconds) if self._instant else (),
                tuple(self._promotions),
            )

    def _steps(self, project: LabellingProject, models: ProjectModels) -> Iterator[Step]:
        clock = self._clock
        self._await_starting_model(models)
        clock.lap("starting model")
        start = models.card(STARTING_VERSION)
        self._world.display.say(f"Starting with {start.detector}, weights: {start.start_weights}")
        first = self._step(0, Batch(), None, models)  # the worker makes the pre-labels meanwhile
        self._await_predictions(project, models)
        clock.lap("pre-labels")
        if self._person.clicks and not project.knows_clicks(self._world.backend):
            self._person = replace(self._person, clicks=0)
            self._world.display.say("This stack does not answer clicks, so what lacks is drawn.")
        verifier = self._verifier_of(project)
        yield self._timed(first)
        labeller = Labeller(
            project,
            models.path,
            self._world.backend,
            self._person,
            self._seed,
            self._world.display,
            clock,
            self._instant_of(project),
            verifier,
        )
        trying = Trying(self._world, project.id, models)

        def submitted(done: int) -> None:
            trying.submitted()
            self._watch(done, models)

        schedule, number = self._schedule_of(project, models), 0
        while len(self._labelled) < schedule.most:
            number += 1
            batch = labeller.label(schedule, self._in_service, self._order == "uncertainty", submitted)
            self._labelled += batch.images
            self._efforts += batch.efforts
            due = self._options.trains and schedule.is_due(len(self._labelled))
            round_ = self._train(project) if due else None
            schedule.began(len(self._labelled))
            clock.lap("round")
            step = self._step(number, batch, round_, models)
            promoted = round_ is not None and round_.state == State.PROMOTED
            if promoted and len(self._labelled) < schedule.most and project.unlabelled():
                self._await_predictions(project, models)
            clock.lap("pre-labels")
            yield self._timed(step)

    def _schedule_of(self, project: LabellingProject, models: ProjectModels) -> Schedule:
        """Raises OptionError: the stack opens no round by itself."""
        images = len(self._dataset.train)
        if self._options.auto:
            return AsItself(self._world, project.project, models, self._options.most(images))
        return Planned(self._options.counts(images))

    def _verifier_of(self, project: LabellingProject) -> Verifier | None:
        """Who answers the page Verify; None if it is not to be played.

        Raises:
            SimulationError: she cannot come to the page.
        """
        if self._account is None:
            return None
        log_in = partial(logged_in, self._world.settings, self._account, project.id, self._world.display.say)
        verifier = Verifier(log_in, project, self._person)
        verifier.check()
        return verifier

    def _instant_of(self, project: LabellingProject) -> Instant | None:
        """What learns at once in this project; None if it is not to be played."""
        if self._options.at_once and self._world.settings.instant:
            self._instant = Instant(learner(self._world, project.id), self._options.at_once)
        return self._instant

    @contextmanager
    def _project(self) -> Iterator[LabellingProject]:
        """The simulated project, in which the person has an account of her own if she goes to the page
        Verify. Both are removed at the end; the project stays if the options keep it. What killed runs have
        left is removed first.
        """
        remove_left(self._world)
        world, title = self._world, f"simulate {self._options.name[:16]} {self._order} {self._seed}"
        with ExitStack() as ends:

            def claim(project_id: int) -> None:
                ends.enter_context(left.held(world.settings.rounds_dir, project_id))

            if self._options.verify and self._options.trains:
                self._account = ends.enter_context(signed_up(world.studio, world.settings, world.display.say))
            project = LabellingProject.create(
                world.studio,
                world.settings,
                self._dataset,
                self._order,
                self._seed,
                title,
                self._options.most(len(self._dataset.train)),
                self._account.studio if self._account else None,
                world.display.say,
                claim=None if self._options.keep else claim,
            )
            world.display.say(f"Project {project.id} ({title}): {len(self._dataset.train)} images")
            try:
                yield project
            finally:
                if not self._options.keep:
                    with uninterrupted():
                        remove(world, project)

    def _await_starting_model(self, models: ProjectModels) -> None:
        self._until(lambda: models.champion() is not None, START_WAIT_S, "the worker writes a starting model")

    def _await_predictions(self, project: LabellingProject, models: ProjectModels) -> None:
        """Waits until every unlabelled task shows the champion's boxes."""
        world = self._world
        follow_predictions(world, project.id, world.display)
        self._until(
            lambda: project.model_version() == models.champion(),
            SHOWN_WAIT_S,
            "Label Studio shows the champion's boxes",
        )

    def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            require_worker(self._world.settings.rounds_dir)
            if time.monotonic() > deadline:
                raise WorkerGone(f"waited {seconds:.0f} s in vain until {what}; see `make logs`")
            time.sleep(POLL_S)

    def _train(self, project: LabellingProject) -> Round:
        rounds = self._world.rounds
        round_, _ = rounds.request(project.id, REQUESTED_BY)
        round_ = follow_round(rounds, round_, self._world.display)
        if round_.state not in ROUND_OVER:
            raise SimulationError(
                f"round {round_.id} of project {project.id} is {round_.state}: "
                f"{round_.error or round_.verdict}\nIts log is {rounds.folder(round_.id) / LOG}"
            )
        return round_

    def _watch(self, done: int, models: ProjectModels) -> None:
        """Notes, when so many images of a batch are labelled, whether the version in service has left it by
        itself, without a round of ours.
        """
        version = models.champion() or STARTING_VERSION
        if version != self._in_service:
            self._promotions = undone(self._promotions, self._in_service, len(self._labelled) + done)
            self._in_service = version

    def _score(self, models: ProjectModels, version: str) -> Score:
        display = self._world.display
        score = self._scorer.score(models, version, lambda f, text: display.update("scoring", f, None, text))
        display.finish()
        return score

    def _step(self, number: int, batch: Batch, round_: Round | None, models: ProjectModels) -> Step:
        version = models.champion() or STARTING_VERSION
        score, costs = self._score(models, version), self._person
        if round_ is not None and round_.state == State.PROMOTED:
            self._note_promotion(models, version, score)
        self._in_service = version
        self._clock.lap("scoring")
        uncertain = self._order == "uncertainty" and bool(batch.opened)
        effort = batch.effort
        return Step(
            order=self._order,
            seed=self._seed,
            step=number,
            labels=len(self._labelled),
            images=len(batch.images),
            boxes=batch.boxes,
            effort=effort,
            handed_over=batch.handed_over,
            seconds=effort.seconds(costs),
            by_hand_seconds=effort.seconds_by_hand(costs),
            state=str(round_.state) if round_ else "labelled" if number else "start",
            verdict=(round_.verdict or "") if round_ else "",
            version=version,
            mAP=score.mAP,
            AP50=score.AP50,
            least_certain_first=batch.in_order / batch.opened if uncertain else None,
            round_seconds=_seconds(round_) if round_ else 0.0,
            wall_seconds=0.0,
            clicks_tried=tuple(batch.experience.tried),
            clicks_right=tuple(batch.experience.right),
            test_work=score.work,
            efforts=tuple(batch.efforts),
        )

    def _timed(self, step: Step) -> Step:
        spent = self._clock.take()
        return replace(step, spent=spent, wall_seconds=sum(spent.values()))

    def _note_promotion(self, models: ProjectModels, version: str, score: Score) -> None:
        former, costs = self._in_service, self._person
        before = self._score(models, former)
        self._promotions.append(
            Promotion(
                version,
                former,
                len(self._labelled),
                score.mAP,
                before.mAP,
                score.work.seconds(costs),
                before.work.seconds(costs),
            )
        )

    def _one_round(self, models: ProjectModels, steps: list[Step]) -> OneRound:
        """Measures how long the same images would have taken with a single round and without clicks."""
        last = single_round(steps, self._options.one_round_at)
        count = last.labels if last else len(self._labelled)
        version = last.version if last else STARTING_VERSION
        work = Work()
        for name, images in ((STARTING_VERSION, self._labelled[:count]), (version, self._labelled[count:])):
            if images:
                self._world.display.update("one round only", 0.0, None, f"{len(images)} images with {name}")
                work += self._scorer.work_with(models, name, images)
        self._world.display.finish()
        return OneRound(count, version, work, work.seconds(self._person))


def _seconds(round_: Round) -> float:
    if not round_.started_at or not round_.finished_at:
        return 0.0
    began, ended = datetime.fromisoformat(round_.started_at), datetime.fromisoformat(round_.finished_at)
    return (ended - began).total_seconds()


def remove(world: World, project: LabellingProject) -> None:
    """Deletes a simulated project, its versions and its rounds' folders.

    Work under way is ended first, because it would otherwise write files again that were just deleted. The
    rounds' rows stay in the table as history. Label Studio does not use the project's number again.
    """
    models = world.registry.project(project.id)
    world.display.say(f"Deleting project {project.id}, its versions and its rounds …")
    with suppress(RoundError):
        open_round = world.rounds.open_round(project.id)
        if open_round is not None:
            world.rounds.cancel(open_round.id)
    deadline = time.monotonic() + CLOSE_WAIT_S
    while models.champion() is None or world.rounds.open_round(project.id) is not None:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    project.delete()
    while _known_to_worker(world, project.id) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    shutil.rmtree(models.path, ignore_errors=True)
    for round_ in world.rounds.history(project.id):
        shutil.rmtree(world.rounds.folder(round_.id), ignore_errors=True)
    progress_path(world.settings.rounds_dir, project.id).unlink(missing_ok=True)
    left.forget(world.settings.rounds_dir, project.id)


def remove_left(world: World) -> None:
    """Deletes the projects of runs that were killed, and says so.

    Raises:
        StudioError: Label Studio does not answer.
    """
    for project in left.projects(world.studio, world.settings.rounds_dir):
        world.display.say(f"Project {project.id} ({project.title}) was left by a run that was killed.")
        remove(world, LabellingProject(world.studio, project, {}))


def _known_to_worker(world: World, project_id: int) -> bool:
    """Whether the worker would still write a starting model for a project that has none."""
    beat = heartbeat.read(world.settings.rounds_dir)
    return beat is not None and beat.fresh and str(project_id) in (beat.projects or {})
