"""What the page Verify hands about: the crops before a person, what she answered, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelloop.errors import Explained


class NotThisPage(Explained):
    """A page of crops cannot be answered, or taken back, any more. Nothing was written."""


@dataclass(frozen=True)
class Crop:
    """One box before a person. place: on the page, from 1. x, y, width, height: in percent of the image,
    whose size in pixels is `size`. marked: it was called wrong before the page was taken back.
    """

    place: int
    task: int
    number: int
    region: str
    score: float
    x: float
    y: float
    width: float
    height: float
    size: tuple[int, int]
    marked: bool


@dataclass(frozen=True)
class Page:
    """The crops that one person has before her."""

    id: str
    label: str
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Answered:
    """What came of a page's answers. due: the tasks of which every sure box is answered now."""

    right: int
    wrong: int
    due: int


@dataclass(frozen=True)
class Due:
    """A task that was answered. rows: the prediction's regions. answers: by the number of a region, whether
    it is right, by whom it was answered, and when. lead_time: None where nobody knows.
    """

    task: int
    unique_id: str
    person: int
    prediction: int
    finishes: bool
    rows: list[dict[str, Any]]
    answers: Mapping[int, tuple[bool, str, float]]
    lead_time: float | None

    @property
    def finished(self) -> bool:
        return self.finishes and all(right for right, *_ in self.answers.values())
