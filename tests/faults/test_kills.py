"""kill -9, SIGSTOP and restarts in the middle of everything: the loop heals, nothing is lost or half done."""

import random
import signal
import time
from collections import Counter

import pytest
from faults.conftest import KILLS
from faults.loop import PROJECT, QuickLoop
from support.quick import STEPS

from trainer.rounds.table import State

VICTIMS = ("worker", "stages", "backend")
STAGES = ("import", "pre-labelling", "snapshot", "training", "evaluation", "promotion")
STOPPED_S = 2.5
SETTLE_EVERY = 15
AIM_S = 2.0


@pytest.mark.matrix
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("fault", ["kill", "stop", "restart"])
def test_a_fault_in_a_stage_heals(loop: QuickLoop, fault: str, victim: str, stage: str) -> None:
    before = loop.rounds.history(PROJECT, 1)
    with loop.holding(stage):
        if fault == "stop":
            loop.send(victim, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            loop.send(victim, signal.SIGCONT)
        else:
            loop.end(victim, signal.SIGKILL if fault == "kill" else signal.SIGTERM)
    loop.heal()
    after = loop.rounds.history(PROJECT, 1)
    if stage in STAGES[2:]:
        assert after[0].state is State.PROMOTED, after[0]
        assert len(after) == 1 and after != before


@pytest.mark.matrix
@pytest.mark.parametrize("victim", ["worker", "backend"])
@pytest.mark.parametrize("fault", ["kill", "restart"])
def test_a_fault_at_boot_heals(loop: QuickLoop, fault: str, victim: str) -> None:
    for moment in (0.0, 0.2, 0.5, 1.0):
        loop.end(victim, signal.SIGKILL)
        time.sleep(moment)
        loop.end(victim, signal.SIGKILL if fault == "kill" else signal.SIGTERM)
    loop.heal()


@pytest.mark.matrix
@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize("way", ["down", "slow"])
def test_label_studio_goes_away_or_is_slow(loop: QuickLoop, way: str, stage: str) -> None:
    with loop.holding(stage):
        loop.studio.down, loop.studio.slow_s = way == "down", 1.0 if way == "slow" else 0.0
    time.sleep(STOPPED_S)
    loop.studio.down, loop.studio.slow_s = False, 0.0
    loop.heal()
    assert loop.rounds.history(PROJECT, 1)[0].state is not State.FAILED


def test_random_kills(loop: QuickLoop, rng: random.Random, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds, imports and pre-labels one after the other, and somebody is killed all the time."""
    killed: Counter[tuple[str, str]] = Counter()
    while sum(killed.values()) < KILLS:
        if loop.rounds.open_round(PROJECT) is None:
            loop.request_round()
            loop.add_task(labelled=rng.random() < 0.5)
        come_to(loop, rng.choice((None, *STEPS)))
        time.sleep(rng.uniform(0.0, 0.3))
        victim = rng.choice(VICTIMS)
        round_ = loop.rounds.open_round(PROJECT)
        if victim != "stages" or loop.stages():
            killed[victim, str(round_.state) if round_ else "between rounds"] += 1
            loop.end(victim, signal.SIGKILL)
        if sum(killed.values()) % SETTLE_EVERY == 0:
            loop.heal()
    loop.heal()
    history = loop.rounds.history(PROJECT, 10_000)
    states = Counter(str(round_.state) for round_ in history)
    with capsys.disabled():
        print(f"\n{sum(killed.values())} kills: {dict(sorted(killed.items()))}; rounds: {dict(states)}")
    for round_ in history:
        twice = round_.state is State.FAILED and "SIGKILL" in (round_.error or "")
        assert round_.state is State.PROMOTED or twice, round_
    assert states["promoted"]


def come_to(loop: QuickLoop, step: str | None) -> None:
    """Waits until the round is about to do `step`, though not for ever: another one may be on its way."""
    (loop.home / "at").unlink(missing_ok=True)
    deadline = time.monotonic() + AIM_S
    while step is not None and time.monotonic() < deadline:
        if (loop.home / "at").exists() and (loop.home / "at").read_text() == step:
            return
        time.sleep(0.01)
