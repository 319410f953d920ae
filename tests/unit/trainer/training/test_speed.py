"""How fast detectors train is measured: the process around it, and real steps with a small network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.families import family
from support.small_rounds import SmallRounds

from labelloop.detector import load_detector_config
from labelloop.settings import Settings
from trainer.training import speed, steps
from trainer.training.speed import Measured, areas, measuring

FOUND = Measured(iterations=300, iteration_s=0.5, look_s=0.1, ready_s=5.0, memory_gb=2.0)
CONFIGS = Path(__file__).parents[4] / "configs"


class FakeProcess:
    """Writes `found` lines at once, and has ended with `status`."""

    def __init__(self, found: int, status: int | None) -> None:
        self.found, self.status = found, status
        self.ended = False

    def poll(self) -> int | None:
        return self.status

    @contextmanager
    def started(self, folder: Path, detectors: Sequence[str], settings: Settings) -> "Iterator[FakeProcess]":
        (folder / speed.MEASURED).write_text((FOUND.model_dump_json() + "\n") * self.found + '{"iterat')
        yield self
        self.ended = True


@pytest.mark.parametrize(
    ("found", "status", "last"),
    [
        (2, 0, ("b", FOUND)),
        (1, 1, ("b", "measuring it was ended by an error (exit status 1)")),
        (1, -9, ("b", "measuring it was ended by the system, mostly because memory ran out (SIGKILL)")),
        (1, None, ("b", "it could not be measured within 18 s")),
    ],
    ids=["whole", "failed", "killed", "too slow"],
)
def test_what_is_measured_comes_in_order_until_the_process_or_the_time_ends(
    found: int, status: int | None, last: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = FakeProcess(found, status)
    monkeypatch.setattr(speed, "_process", process.started)
    monkeypatch.setattr(speed, "POLL_S", 0.0)
    moments = iter([0.0, 17.0, 18.5])
    assert list(measuring(["a", "b"], Settings(), lambda: next(moments))) == [("a", FOUND), last]
    assert process.ended


def test_a_yolox_is_measured_at_one_size_of_those_that_it_draws() -> None:
    config = load_detector_config("yolox_nano", Settings(labelloop_home=CONFIGS.parent))
    mean, largest = areas(config)
    sides = [side * 32 for side in range(8, 14)]
    assert mean == pytest.approx(sum(side**2 for side in sides) / len(sides) / 320**2)
    assert largest == pytest.approx(416**2 / 320**2)
    assert areas(family("fcos")) == (1.0, 1.0)


def test_real_steps_are_timed(tmp_path: Path) -> None:
    rounds = SmallRounds.below(tmp_path / "home", "yolox")
    steps.make_images(tmp_path)
    found = steps.measure("yolox", rounds.settings, tmp_path, 5.0)
    assert 0.001 < found.iteration_s < 60 and 0.0001 < found.look_s < found.iteration_s
    assert 0.1 < found.memory_gb < 8 and 0 < found.share <= 1 and not found.rough
    assert (found.iterations, found.ready_s, found.gpu_gb) == (300, 5.0, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{number}.jpg" for number in range(steps.IMAGES)), "home", steps.ANNOTATIONS,
    ]  # fmt: skip
    hopeless = rounds.settings.model_copy(update={"round_minutes": 1e-6})
    assert steps.measure("yolox", hopeless, tmp_path, 5.0).rough
