"""The simulated person at the page Verify: page after page, each crop compared with the truth."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelloop.boxes import iou_matrix
from trainer.judging.effort import PageWork
from trainer.simulate.dataset import TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.options import Person
from trainer.simulate.project import LabellingProject
from trainer.simulate.verify_page import Crop, Shown, VerifyPage
from trainer.simulate.work_done import Verified

FULL = 24
"""With so many crops a page is full; with fewer ready she does not begin."""
LOOK_S = 60.0
POLL_S = 0.5


@dataclass(frozen=True)
class Submitted:
    """An image that was submitted from the page. regions: of its annotation."""

    task: int
    image: TrueImage
    regions: Sequence[Mapping[str, Any]]
    verified: Verified


@dataclass(frozen=True)
class Answered:
    """What came of one page. handed_over: how many images it has left to Label Studio as drafts."""

    work: PageWork
    submitted: Sequence[Submitted]
    handed_over: int


@dataclass
class Verifier:
    """Answers a project's pages. open: logs her in.

    Like a person she begins where a whole page of crops is ready, and goes on until nothing sure is left. All
    crops of a page are of one label. One is right if its box overlaps a true one of that label by
    accepted_iou or more; she makes no mistakes. What is not on the page, such as a missed object, she does
    not see.
    """

    open: Callable[[], AbstractContextManager[VerifyPage]]
    project: LabellingProject
    person: Person

    def check(self) -> None:
        """Raises SimulationError: she cannot come to the page."""
        with self.open() as page:
            page.look()

    def pages(self, room: Callable[[], int]) -> Generator[Answered, None, None]:
        """Answers page after page. room: how many more images may be submitted; a page is not answered that
        could submit more.

        Raises:
            SimulationError: the dashboard refuses, does not answer, or does not take an answer.
            StudioError: Label Studio does not answer.
        """
        waiting: set[int] = set()
        before: str | None = None
        with self.open() as page:
            while True:
                shown = self._settled(page)
                if shown.id is None or (before is None and shown.ready < FULL):
                    return
                if shown.id == before:
                    raise SimulationError(
                        f"project {self.project.id}: the page Verify does not take its answers"
                    )
                waiting |= {crop.task for crop in shown.crops}
                if len(waiting) > room():
                    return
                before = shown.id
                yield self._answer(page, shown, waiting)

    def _settled(self, page: VerifyPage) -> Shown:
        """The page, once the images have been looked through for crops."""
        deadline = time.monotonic() + LOOK_S
        while True:
            shown = page.look()
            if not shown.looking or shown.ready >= FULL or time.monotonic() > deadline:
                return shown
            time.sleep(POLL_S)

    def _answer(self, page: VerifyPage, shown: Shown, waiting: set[int]) -> Answered:
        """waiting: tasks with answered crops of which nothing has come yet. What is settled is taken out."""
        wrong = [crop for crop in shown.crops if not self._is_right(crop, shown.label)]
        work = PageWork(len(shown.crops), len(wrong), 1)
        page.answer(shown, wrong, work.seconds(self.person.pages))
        submitted, handed_over = [], 0
        for task, standing in self.project.standing(sorted(waiting)).items():
            if standing.submitted is not None:
                image = self.project.images[task]
                boxes = self.project.boxes(standing.submitted, image)
                verified = Verified.of(boxes, image.boxes, self.person)
                submitted.append(Submitted(task, image, standing.submitted, verified))
            elif standing.has_draft:
                handed_over += 1
            else:
                continue
            waiting.discard(task)
        return Answered(work, submitted, handed_over)

    def _is_right(self, crop: Crop, label: str) -> bool:
        truth = self.project.images[crop.task].boxes
        of_label = truth.labels == self.project.project.labels.names.index(label)
        overlaps = iou_matrix(crop.xyxy[None, :], truth.xyxy[of_label])
        return bool(np.any(overlaps >= self.person.accepted_iou))
