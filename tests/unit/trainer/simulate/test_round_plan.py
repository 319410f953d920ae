"""When rounds begin in a simulated run."""

from dataclasses import replace

import pytest
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import OPTIONS, MakeRun

from trainer.simulate.errors import OptionError
from trainer.simulate.run import World

AUTO = replace(OPTIONS, schedule=("auto",))


@pytest.mark.parametrize(
    ("every", "states"),
    [
        (50, [(0, "start"), (5, "promoted"), (6, "labelled")]),
        (1, [(0, "start"), (5, "promoted"), (6, "kept")]),
    ],
)
def test_by_itself_rounds_begin_when_the_stack_would_open_them(
    make_run: MakeRun, world: World, worker: FakeWorker, every: int, states: list[tuple[int, str]]
) -> None:
    """The labels are known, so the first has to wait for five labels, of which one is on the hold-out."""
    world.settings.retrain_every = every
    steps = list(make_run(AUTO).steps())
    assert [(step.labels, step.state) for step in steps] == states


def test_by_itself_no_round_begins_where_the_settings_say_so(
    make_run: MakeRun, world: World, worker: FakeWorker, labelling_studio: LabellingStudio
) -> None:
    world.settings.retrain_every = 0
    with pytest.raises(OptionError, match="SCHEDULE=auto: with RETRAIN_EVERY=0"):
        list(make_run(AUTO).steps())
    assert worker.learning.calls == [] and labelling_studio.deleted == [1]
