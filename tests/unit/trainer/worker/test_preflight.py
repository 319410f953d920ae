"""Whether a project has a box at all is asked of Label Studio as seldom as can be."""

import pytest
from support.fake_studio import FakeStudio, add_labelled

from labelloop.studio import Studio
from trainer.worker.preflight import LOOK_AGAIN_S, DrawnBoxes


class Looks:
    """What is found, and how often Label Studio was asked for it. now: seconds."""

    def __init__(self, studio: Studio, fake: FakeStudio) -> None:
        self.now = 0.0
        self._fake = fake
        self._boxes = DrawnBoxes(studio, lambda: self.now)

    def __call__(self, labelled: int) -> tuple[bool, int]:
        before = len(self._fake.pages)
        return self._boxes.any(1, labelled), len(self._fake.pages) - before


@pytest.fixture
def look(studio: Studio, fake_studio: FakeStudio) -> Looks:
    return Looks(studio, fake_studio)


def empty(fake: FakeStudio, task: int, cancelled: bool = False) -> None:
    fake.tasks[task]["annotations"] = [{"id": task, "was_cancelled": cancelled, "result": []}]


def test_a_box_is_remembered_while_labels_become_more(look: Looks, fake_studio: FakeStudio) -> None:
    add_labelled(fake_studio, 3)
    assert look(3) == (True, 1)
    assert look(3) == look(4) == (True, 0)
    for task in fake_studio.tasks:
        empty(fake_studio, task)
    assert look(2) == (False, 1), "some were deleted, perhaps those with a box"


def test_none_is_looked_for_again_after_a_while_and_with_each_new_label(
    look: Looks, fake_studio: FakeStudio
) -> None:
    for task in add_labelled(fake_studio, 3):
        empty(fake_studio, task)
    assert look(3) == (False, 1)
    assert look(3) == (False, 0)
    look.now = LOOK_AGAIN_S
    assert look(3) == (False, 1)
    add_labelled(fake_studio, 1)
    assert look(4) == (True, 1)


def test_a_skipped_annotation_has_no_box_that_counts(look: Looks, fake_studio: FakeStudio) -> None:
    [task] = add_labelled(fake_studio, 1)
    empty(fake_studio, task, cancelled=True)
    assert look(1) == (False, 1)
