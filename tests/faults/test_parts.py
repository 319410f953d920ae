"""A part past one machine is lost, at every moment of the loop, while somebody labels: it heals by itself.

`make faults` alone; DATABASE=postgres REPLICAS=2 BACKENDS=2 say which parts there are.
"""

import itertools
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from faults.conftest import BACKENDS, DATABASE, KILLS, REPLICAS
from faults.grown_loop import PROJECT, GrownLoop, Person
from faults.parts import send
from support.quick import STEPS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(4 * 3600)]

MOMENTS = ("import", "pre-labelling", *STEPS)
LASTS_S = {
    "kill": (0.0, 1.0),
    "restart": (0.0, 1.0),
    "pause": (1.0, 30.0),
    "away": (5.0, 60.0),
    "full": (2.0, 10.0),
}
SEVERAL = 0.4
"""So often a second part is hit at the same moment."""
Fault = tuple[str, str]


def faults_of(loop: GrownLoop) -> list[Fault]:
    """Each part with what may befall it."""
    found = [(name, fault) for name in loop.parts for fault in ("kill", "pause")]
    found += [(name, "restart") for name in loop.parts if name not in ("bucket", "stages")]
    return [*found, ("bucket", "away"), ("stages", "kill"), *((name, "full") for name in loop.disks)]


@contextmanager
def befalls(loop: GrownLoop, fault: Fault) -> Iterator[None]:
    """Lasts until the end of the block, or as long as it does by itself."""
    name, what = fault
    if what == "full":
        filler = loop.disks[name]()
        try:
            yield
        finally:
            filler.unlink()
    elif name == "stages":
        send(loop.stages(), signal.SIGKILL)
        yield
    elif what in ("pause", "away"):
        part = loop.parts[name]
        with part.paused() if what == "pause" else part.away():
            yield
    else:
        loop.parts[name].kill() if what == "kill" else loop.parts[name].end()
        yield


@contextmanager
def at(loop: GrownLoop, moment: str, rng: random.Random) -> Iterator[None]:
    """The loop is there on entry, and goes on at the end."""
    if moment in STEPS:
        with loop.holding(moment):
            yield
        return
    if moment == "import":
        loop.add_image()
        time.sleep(rng.uniform(0.0, 0.8))
    else:
        loop.rounds.request(PROJECT, "test")
        loop.closes_its_round()
        time.sleep(rng.uniform(0.0, 1.0))
    yield


def struck(fault: Fault, others: list[Fault], rng: random.Random) -> list[Fault]:
    """The fault, and at times one of another part at the same moment."""
    more = [other for other in others if other[0] != fault[0]]
    return [fault, rng.choice(more)] if rng.random() < SEVERAL else [fault]


def test_random_losses_of_parts(
    tmp_path: Path, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    done, slowest = Counter[tuple[str, str, str]](), defaultdict[Fault, float](float)
    with GrownLoop(tmp_path, DATABASE, REPLICAS, BACKENDS) as loop:
        loop.heal()
        faults = faults_of(loop)
        rows = list(itertools.product(faults, MOMENTS))
        rng.shuffle(rows)
        with Person(loop) as person:
            for fault, moment in itertools.cycle(rows):
                if sum(done.values()) >= KILLS:
                    break
                both = struck(fault, faults, rng)
                with capsys.disabled():
                    print(f"\n{sum(done.values())}: {both} at {moment}", end="", flush=True)
                with ExitStack() as befallen:
                    with at(loop, moment, rng):
                        for one in both:
                            befallen.enter_context(befalls(loop, one))
                    time.sleep(max(rng.uniform(*LASTS_S[what]) for _, what in both))
                took = loop.heal()
                for one in both:
                    done[*one, moment] += 1
                    slowest[one] = max(slowest[one], took)
        loop.heal()
        assert len(person.submitted) > len(faults) and not person.lost()
        states = Counter(str(round_.state) for round_ in loop.rounds.history(PROJECT, 10_000))
        with capsys.disabled():
            print(f"\n{sum(done.values())} losses of parts: {told(done)}")
            healed = {" ".join(fault): round(took) for fault, took in sorted(slowest.items())}
            print(f"healed after, at most, in seconds: {healed}")
            print(
                f"rounds: {dict(states)}; {len(loop.put)} images; {len(person.submitted)} annotations ",
                end="",
            )
            print(f"acknowledged, {person.refused} refused; all are there")


def told(done: Counter[tuple[str, str, str]]) -> dict[str, dict[str, int]]:
    """By part and what befell it: how often at each moment."""
    found: dict[str, dict[str, int]] = {}
    for (name, what, moment), count in sorted(done.items()):
        found.setdefault(f"{name} {what}", {})[moment] = count
    return found
