"""A batch of images that the simulated person labels: at the page Verify where it has sure boxes, then one
after the other, as Label Studio hands them out.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from trainer.judging.effort import PageWork, Work
from trainer.peers.backend import Backend
from trainer.simulate.annotator import keep
from trainer.simulate.clicks import Experience, fetch, points
from trainer.simulate.clock import Clock
from trainer.simulate.dataset import TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.instant import Instant
from trainer.simulate.options import Person
from trainer.simulate.project import LabellingProject, Task
from trainer.simulate.round_plan import Schedule
from trainer.simulate.verifier import Verifier
from trainer.simulate.work_done import Effort
from trainer.terminal.display import Display


@dataclass
class Batch:
    """images, efforts: what was labelled, and the effort for each, in that order. in_order: how many had the
    lowest score among the remaining ones when they were handed out. experience: what clicks gave, and had
    given before.
    handed_over: images that the page Verify has left to Label Studio.
    """

    images: list[TrueImage] = field(default_factory=list)
    efforts: list[Effort] = field(default_factory=list)
    in_order: int = 0
    experience: Experience = field(default_factory=Experience)
    handed_over: int = 0
    _pages: PageWork = PageWork()

    def looked(self, pages: PageWork) -> None:
        """Takes a page; its work counts with the next image that is labelled."""
        self._pages += pages

    def labelled(self, image: TrueImage, effort: Effort) -> None:
        self.images.append(image)
        self.efforts.append(effort + Effort(pages=self._pages))
        self._pages = PageWork()

    @property
    def effort(self) -> Effort:
        return sum(self.efforts, Effort(pages=self._pages))

    @property
    def work(self) -> Work:
        return self.effort.work

    @property
    def opened(self) -> int:
        """How many images were labelled in the editor."""
        return len(self.images) - self.effort.verified.images

    @property
    def boxes(self) -> int:
        """The number of true boxes."""
        return sum(len(image.boxes) for image in self.images)


class Labeller:
    """Labels a project's images. models: the folder of its versions. person: clicks only if the stack knows
    clicks. seed: of the places where she clicks. clock: what the stack takes for tasks, clicks and
    submissions is noted there. instant: what learns after each image; None where nothing does. verifier:
    answers the page Verify; None where nobody does.
    """

    def __init__(
        self,
        project: LabellingProject,
        models: Path,
        backend: Backend,
        person: Person,
        seed: int,
        display: Display,
        clock: Clock,
        instant: Instant | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self._project = project
        self._models = models
        self._backend = backend
        self._person = person
        self._seed = seed
        self._display = display
        self._clock = clock
        self._instant = instant
        self._verifier = verifier
        self._submitted = 0
        self._last: tuple[str, Experience] | None = None

    def label(
        self, schedule: Schedule, version: str, by_score: bool, submitted: Callable[[int], None]
    ) -> Batch:
        """Labels until a round is due, or all is labelled. version: the one in service. by_score: whether
        tasks come in the order of their scores, which is checked then. submitted: called after each image,
        with how many those of the batch are.

        Raises:
            SimulationError: Label Studio hands out fewer, or the dashboard does not do its part.
                StudioError, BackendError: a peer does not answer.
        """
        batch = Batch(experience=self._knows(version))
        self._last = version, batch.experience
        if self._submitted and self._verifier is not None:
            self._verify(self._verifier, batch, schedule, submitted)
        scores = self._project.scores() if by_score else {}
        while not self._is_over(schedule):
            task = self._project.next()
            self._clock.lap("next task")
            if task is None:
                raise SimulationError(
                    f"project {self._project.id}: Label Studio hands out no task, although "
                    f"{schedule.most - self._submitted} images are still to be labelled"
                )
            work = self._correct(task, batch)
            self._clock.lap("clicks")
            if self._instant is not None:
                self._instant.meanwhile(self._submitted, work.seconds(self._person))
                self._clock.lap("learning at once")
            regions = self._project.submit(task, work.seconds(self._person))
            self._project.note_sizes(self._models, task.id, regions)
            self._clock.lap("submit")
            batch.in_order += was_least_certain(scores, task.id)
            self._labelled(batch, task.image, Effort(work), submitted)
            self._show(schedule)
        self._display.finish()
        return batch

    def _knows(self, version: str) -> Experience:
        """What she knows of clicks when a batch begins."""
        if self._last is None:
            return Experience()
        former, experience = self._last
        return experience.carried_on(version != former)

    def _verify(
        self, verifier: Verifier, batch: Batch, schedule: Schedule, submitted: Callable[[int], None]
    ) -> None:
        with closing(verifier.pages(lambda: schedule.most - self._submitted)) as pages:
            for page in pages:
                batch.looked(page.work)
                batch.handed_over += page.handed_over
                for image in page.submitted:
                    self._project.note_sizes(self._models, image.task, image.regions)
                    self._labelled(batch, image.image, Effort(verified=image.verified), submitted)
                self._show(schedule)
                if self._is_over(schedule):
                    break
        self._clock.lap("verify pages")

    def _labelled(
        self, batch: Batch, image: TrueImage, effort: Effort, submitted: Callable[[int], None]
    ) -> None:
        self._submitted += 1
        batch.labelled(image, effort)
        submitted(len(batch.images))

    def _is_over(self, schedule: Schedule) -> bool:
        return self._submitted >= schedule.most or schedule.is_due(self._submitted)

    def _show(self, schedule: Schedule) -> None:
        goal = max(schedule.next(), self._submitted)
        self._display.update("labelling", self._submitted / goal, None, f"{self._submitted} of {goal} images")

    def _correct(self, task: Task, batch: Batch) -> Work:
        truth = task.image.boxes
        work, lacking = keep(task.proposed, truth, self._person)
        at = points(truth, self._seed, task.image.name)
        ask = self._project.asking(self._backend, task)
        return work + fetch(truth, lacking.tolist(), at, ask, self._person, batch.experience)


def was_least_certain(scores: dict[int, float], task: int) -> bool:
    """Whether the task that was handed out has the lowest score; it is taken out of `scores`.

    One without a score, as its boxes are of a version learnt at once meanwhile, is in no order.

    >>> scores = {1: 0.9, 2: 0.2}
    >>> was_least_certain(scores, 3), was_least_certain(scores, 2), scores
    (False, True, {1: 0.9})
    """
    score = scores.pop(task, None)
    return score is not None and score <= min(scores.values(), default=1.0)
