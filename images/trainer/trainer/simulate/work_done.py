"""All that a simulated person does for images, in the editor and on the page Verify, and its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from labelloop.boxes import Boxes
from trainer.judging.effort import TABLES, PageWork, Work
from trainer.simulate.annotator import keep
from trainer.simulate.options import Person

PRICES: Mapping[str, Person] = MappingProxyType({name: Person.of(name) for name in TABLES})
"""A person by each of the tables of costs."""


@dataclass(frozen=True)
class Verified:
    """What was submitted from the page Verify, against the truth: nobody has opened these images.

    right, wrong: their boxes, by whether one of the truth's is there. missed: true boxes without one.
    instead: what the person would have done in the editor with the same boxes, where she draws what lacks.
    """

    images: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    instead: Work = Work()

    def __add__(self, other: "Verified") -> "Verified":
        return Verified(
            self.images + other.images,
            self.right + other.right,
            self.wrong + other.wrong,
            self.missed + other.missed,
            self.instead + other.instead,
        )

    @classmethod
    def of(cls, submitted: Boxes, truth: Boxes, person: Person) -> "Verified":
        """One image with the boxes that were submitted."""
        work, lacking = keep(submitted, truth, person)
        missed = len(truth) - work.accepted
        instead = work + Work(drawn=len(lacking))
        return cls(1, work.accepted, len(submitted) - work.accepted, missed, instead)


@dataclass(frozen=True)
class Effort:
    """work: in the editor. pages: on the page Verify. verified: the images that were submitted from there."""

    work: Work = Work()
    pages: PageWork = PageWork()
    verified: Verified = Verified()

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(self.work + other.work, self.pages + other.pages, self.verified + other.verified)

    @property
    def truths(self) -> int:
        """The right boxes in the result. What was missed on the page Verify is nobody's saving."""
        return self.work.truths + self.verified.right

    def seconds(self, person: Person) -> float:
        return self.work.seconds(person) + self.pages.seconds(person.pages)

    def seconds_in_editor(self, person: Person) -> float:
        """The time for the same images if all had been opened in the editor."""
        return self.work.seconds(person) + self.verified.instead.seconds(person)

    def seconds_by_hand(self, person: Person) -> float:
        """The time to draw every right box of the result."""
        return self.truths * person.draw

    def share_saved(self, person: Person) -> float:
        """The share of the time by hand that is saved; 0 without a box in the result."""
        return saved(self.seconds(person), self.seconds_by_hand(person))

    def share_saved_in_editor(self, person: Person) -> float:
        """The same if all images had been opened in the editor, where nothing is missed."""
        by_hand = (self.work.truths + self.verified.instead.truths) * person.draw
        return saved(self.seconds_in_editor(person), by_hand)


def saved(seconds: float, instead_of: float) -> float:
    """The share of `instead_of` that is saved; 0 when `instead_of` is 0."""
    return 1 - seconds / instead_of if instead_of else 0.0
