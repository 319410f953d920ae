"""One simulated run, with one order and one seed: from the first label of a project to its last round."""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from labelloop.registry import STARTING_VERSION, ProjectModels
from trainer.judging.effort import Work
from trainer.loop import Loop
from trainer.rounds import heartbeat
from trainer.rounds.folder import LOG
from trainer.rounds.progress import progress_path
from trainer.rounds.table import Round, RoundError, State
from trainer.simulate.annotator import correct
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.figures import OneRound, RunFigures, Step, single_round
from trainer.simulate.models import Scorer, propose
from trainer.simulate.options import Options
from trainer.simulate.project import LabellingProject
from trainer.simulate.signals import uninterrupted
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


@dataclass(frozen=True)
class _Batch:
    images: list[TrueImage]
    work: Work
    least_certain_first: float | None


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
            )

    def _steps(self, project: LabellingProject, models: ProjectModels) -> Iterator[Step]:
        began = time.monotonic()
        self._await_starting_model(models)
        start = models.card(STARTING_VERSION)
        self._world.display.say(f"Starting with {start.detector}, weights: {start.start_weights}")
        self._await_predictions(project, models)
        yield self._step(0, _Batch([], Work(), None), None, models, began)
        for number, count in enumerate(self._options.counts(len(self._dataset.train)), start=1):
            began = time.monotonic()
            batch = self._label(project, count - len(self._labelled))
            round_ = self._train(project)
            step = self._step(number, batch, round_, models, began)
            if round_.state == State.PROMOTED and project.unlabelled():
                self._await_predictions(project, models)
            yield step

    @contextmanager
    def _project(self) -> Iterator[LabellingProject]:
        """The simulated project. It is removed at the end unless the options keep it."""
        title = f"simulate {self._options.name[:16]} {self._order} {self._seed}"
        project = LabellingProject.create(
            self._world.studio, self._world.settings, self._dataset, self._order, self._seed, title
        )
        self._world.display.say(f"Project {project.id} ({title}): {len(self._dataset.train)} images")
        try:
            yield project
        finally:
            if not self._options.keep:
                with uninterrupted():
                    remove(self._world, project)

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

    def _label(self, project: LabellingProject, count: int) -> _Batch:
        """Corrects and submits the next `count` tasks, as Label Studio hands them out."""
        scores = project.scores()
        images, work, in_order = [], Work(), 0
        for done in range(count):
            task = project.next()
            if task is None:
                raise SimulationError(
                    f"project {project.id}: Label Studio hands out no task after {len(self._labelled)} of "
                    f"{len(self._dataset.train)}"
                )
            corrected = correct(task.proposed, task.image.boxes, self._options.costs)
            project.submit(task, corrected.seconds(self._options.costs))
            images.append(task.image)
            work += corrected
            in_order += bool(scores) and scores.pop(task.id) <= min(scores.values(), default=1.0)
            self._world.display.update("labelling", (done + 1) / count, None, f"{done + 1} of {count} images")
        self._world.display.finish()
        self._labelled += images
        return _Batch(images, work, in_order / count if self._order == "uncertainty" else None)

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

    def _step(
        self, number: int, batch: _Batch, round_: Round | None, models: ProjectModels, began: float
    ) -> Step:
        version = models.champion() or STARTING_VERSION
        display = self._world.display
        score = self._scorer.score(models, version, lambda f, text: display.update("scoring", f, None, text))
        display.finish()
        costs = self._options.costs
        boxes = sum(len(image.boxes) for image in batch.images)
        return Step(
            order=self._order,
            seed=self._seed,
            step=number,
            labels=len(self._labelled),
            images=len(batch.images),
            boxes=boxes,
            work=batch.work,
            seconds=batch.work.seconds(costs),
            by_hand_seconds=boxes * costs.draw,
            state=str(round_.state) if round_ else "start",
            verdict=(round_.verdict or "") if round_ else "",
            version=version,
            mAP=score.mAP,
            AP50=score.AP50,
            least_certain_first=batch.least_certain_first,
            round_seconds=_seconds(round_) if round_ else 0.0,
            wall_seconds=time.monotonic() - began,
        )

    def _one_round(self, models: ProjectModels, steps: list[Step]) -> OneRound:
        """Measures how long the same images would have taken with a single round."""
        last = single_round(steps, self._options.one_round_at)
        count = last.labels if last else len(self._labelled)
        version = last.version if last else STARTING_VERSION
        work = self._work_with(models, STARTING_VERSION, self._labelled[:count])
        work += self._work_with(models, version, self._labelled[count:])
        return OneRound(count, version, work, work.seconds(self._options.costs))

    def _work_with(self, models: ProjectModels, version: str, images: list[TrueImage]) -> Work:
        if not images:
            return Work()
        self._world.display.update("one round only", 0.0, None, f"{len(images)} images with {version}")
        config = self._dataset.label_config
        proposed = propose(models, version, images, config, self._world.settings)
        self._world.display.finish()
        costs = self._options.costs
        corrected = (correct(p, image.boxes, costs) for p, image in zip(proposed, images, strict=True))
        return sum(corrected, Work())


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


def _known_to_worker(world: World, project_id: int) -> bool:
    """Whether the worker would still write a starting model for a project that has none."""
    beat = heartbeat.read(world.settings.rounds_dir)
    return beat is not None and beat.fresh and str(project_id) in (beat.projects or {})
