"""A batch of images that the simulated person labels, one after the other, as Label Studio hands them out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.judging.effort import Work
from trainer.peers.backend import Backend
from trainer.simulate.annotator import keep
from trainer.simulate.clicks import Experience, fetch, points
from trainer.simulate.clock import Clock
from trainer.simulate.dataset import TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.instant import Instant
from trainer.simulate.options import Person
from trainer.simulate.project import LabellingProject, Task
from trainer.terminal.display import Display


@dataclass
class Batch:
    """images, works: what was labelled, and the work on each, in that order. in_order: how many had the
    lowest score among the remaining ones when they were handed out. experience: what clicks gave.
    """

    images: list[TrueImage] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    in_order: int = 0
    experience: Experience = field(default_factory=Experience)

    @property
    def work(self) -> Work:
        return sum(self.works, Work())

    @property
    def boxes(self) -> int:
        """The number of true boxes."""
        return sum(len(image.boxes) for image in self.images)


class Labeller:
    """Labels a project's images. models: the folder of its versions. person: clicks only if the stack knows
    clicks. seed: of the places where she clicks. clock: what the stack takes for tasks, clicks and
    submissions is noted there. instant: what learns after each image; None where nothing does.
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
    ) -> None:
        self._project = project
        self._models = models
        self._backend = backend
        self._person = person
        self._seed = seed
        self._display = display
        self._clock = clock
        self._instant = instant
        self._submitted = 0

    def label(self, count: int, submitted: Callable[[int], None]) -> Batch:
        """Corrects and submits the next `count` tasks. submitted: called after each, with how many those are.

        Raises:
            SimulationError: Label Studio hands out fewer. StudioError, BackendError: a peer does not answer.
        """
        batch = Batch()
        scores = self._project.scores()
        for done in range(count):
            task = self._project.next()
            self._clock.lap("next task")
            if task is None:
                raise SimulationError(
                    f"project {self._project.id}: Label Studio hands out no task, although "
                    f"{count - done} of this batch's {count} are still to be labelled"
                )
            work = self._correct(task, batch)
            self._clock.lap("clicks")
            if self._instant is not None:
                self._instant.meanwhile(self._submitted, work.seconds(self._person))
                self._clock.lap("learning at once")
            regions = self._project.submit(task, work.seconds(self._person))
            self._project.note_sizes(self._models, task, regions)
            self._submitted += 1
            self._clock.lap("submit")
            batch.images.append(task.image)
            batch.works.append(work)
            batch.in_order += bool(scores) and scores.pop(task.id) <= min(scores.values(), default=1.0)
            submitted(done + 1)
            self._display.update("labelling", (done + 1) / count, None, f"{done + 1} of {count} images")
        self._display.finish()
        return batch

    def _correct(self, task: Task, batch: Batch) -> Work:
        truth = task.image.boxes
        work, lacking = keep(task.proposed, truth, self._person)
        at = points(truth, self._seed, task.image.name)
        ask = self._project.asking(self._backend, task)
        return work + fetch(truth, lacking.tolist(), at, ask, self._person, batch.experience)
