"""What DETECTOR=auto stands for, on made measurements."""

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from labelloop.detector import DetectorError
from labelloop.settings import Settings
from trainer.training import auto
from trainer.training.speed import Measured

STRONGEST_FIRST = ("large", "middle", "small")
STEPS = {"small": 0.3, "middle": 0.9, "large": 4.0}
"""Seconds of an iteration: of 300, so that rounds take 1:40, 4:40 and 20:10 min."""


class Machine:
    """Detectors that take so long, and what was measured of them. ends: those at which measuring ends."""

    def __init__(self, **changes: object) -> None:
        self.asked: list[str] = []
        self.open = 0
        self.changes, self.ends = changes, {}  # type: ignore[var-annotated]
        self.steps = dict(STEPS)

    def measuring(
        self, detectors: Sequence[str], settings: Settings
    ) -> Generator[tuple[str, Measured | str], None, None]:
        self.open += 1
        try:
            for name in detectors:
                self.asked.append(name)
                if name in self.ends:
                    yield name, self.ends[name]
                    return
                values = {"look_s": 0.05, "ready_s": 5.0, "memory_gb": 2.0, "iterations": 300}
                yield (
                    name,
                    Measured.model_validate({"iteration_s": self.steps[name], **values, **self.changes}),
                )
        finally:
            self.open -= 1


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def pick(machine: Machine, tmp_path: Path) -> Callable[..., auto.Picked]:
    def call(
        had: Sequence[str] = STRONGEST_FIRST,
        stamps: dict[str, str] | None = None,
        memory_gb: float = 8.0,
        **settings: object,
    ) -> auto.Picked:
        given = Settings.model_validate({"labelloop_home": tmp_path, "threads": 2, **settings})
        call.settings = given  # type: ignore[attr-defined]
        (tmp_path / "volumes" / "cache").mkdir(parents=True, exist_ok=True)
        stamp = (stamps or {}).get
        return auto.pick(
            had, given, machine.measuring, lambda name: stamp(name) or name, "small", lambda: memory_gb
        )

    return call


def test_the_strongest_whose_round_stays_within_the_minutes_is_taken(
    pick: Callable[..., auto.Picked], machine: Machine
) -> None:
    picked = pick()
    assert picked.order == ("middle", "small", "large")
    assert picked.why("middle", Settings()) == (
        "a round on 40 labelled images takes about 4:41 min here; large would take 20:11 min, more than "
        "ROUND_MINUTES=5"
    )
    assert machine.asked == ["small", "middle", "large"] and machine.open == 0


@pytest.mark.parametrize(
    ("minutes", "order", "asked"),
    [
        (1, ("small",), ["small"]),
        (2, ("small", "middle"), ["small", "middle"]),
        (21, ("large", "middle", "small"), ["small", "middle", "large"]),
    ],
)
def test_nothing_is_measured_after_the_first_that_takes_too_long(
    minutes: float,
    order: tuple[str, ...],
    asked: list[str],
    pick: Callable[..., auto.Picked],
    machine: Machine,
) -> None:
    picked = pick(round_minutes=minutes)
    assert (picked.order, machine.asked, machine.open) == (order, asked, 0)


def test_where_none_fits_the_one_that_comes_closest_is_taken_and_the_larger_are_named(
    pick: Callable[..., auto.Picked],
) -> None:
    picked = pick(round_minutes=1)
    assert picked.why("small", Settings(round_minutes=1)) == (
        "no detector fits here, and this comes closest: small would take 1:41 min, more than "
        "ROUND_MINUTES=1; middle, large would take longer still"
    )


def test_what_was_measured_is_kept_for_the_machine_and_the_config(
    pick: Callable[..., auto.Picked], machine: Machine
) -> None:
    first = pick()
    machine.asked.clear()
    assert pick() == first and machine.asked == []
    assert pick(round_minutes=30).order[0] == "large" and machine.asked == [], "another limit, same speeds"
    assert pick(iterations=30).order[0] == "large" and machine.asked == [], "and another length"
    pick(stamps={"middle": "edited"})
    assert machine.asked == ["middle"]
    machine.asked.clear()
    pick(threads=1)
    assert machine.asked == ["small", "middle", "large"], "another machine"
    machine.asked.clear()
    pick(stamps={"middle": "edited"})
    assert machine.asked == [], "the first machine's are still there"


def test_a_file_that_is_damaged_is_measured_anew(
    pick: Callable[..., auto.Picked], machine: Machine, tmp_path: Path
) -> None:
    first = pick()
    (tmp_path / "volumes" / "cache" / "speed.json").write_text('{"machines": {"x": 3}}')
    machine.asked.clear()
    assert pick() == first and machine.asked == ["small", "middle", "large"]


def test_what_was_measured_before_a_stop_is_kept(
    pick: Callable[..., auto.Picked], machine: Machine, tmp_path: Path
) -> None:
    machine.ends = {"middle": "it could not be measured within 18 s"}
    picked = pick()
    assert picked.order == ("small",), "what is not known is not taken"
    assert picked.why("small", Settings()).endswith("; middle: it could not be measured within 18 s")
    kept = json.loads((tmp_path / "volumes" / "cache" / "speed.json").read_text())
    assert [list(known) for known in kept["machines"].values()] == [["small"]]
    machine.ends = {}
    machine.asked.clear()
    assert pick().order[0] == "middle" and machine.asked == ["middle", "large"]


def test_where_nothing_could_be_measured_the_default_is_taken(
    pick: Callable[..., auto.Picked], machine: Machine
) -> None:
    machine.ends = {"small": "measuring it was ended by an error (exit status 1)"}
    picked = pick()
    assert picked.order[0] == "small"
    assert "how fast detectors train here is not known" in picked.why("small", Settings())


def test_a_single_detector_is_not_measured(
    pick: Callable[..., auto.Picked], machine: Machine, tmp_path: Path
) -> None:
    assert pick(had=["small"]).order == ("small",) and pick(had=[]).order == ()
    assert machine.asked == [] and not (tmp_path / "volumes" / "cache" / "speed.json").exists()


def test_too_much_memory_is_a_no(pick: Callable[..., auto.Picked], machine: Machine) -> None:
    machine.changes["memory_gb"] = 5.4
    picked = pick(memory_gb=4.0, round_minutes=30)
    assert picked.order == ("small",) and machine.asked == ["small"]
    assert picked.why("small", Settings()).startswith(
        "no detector fits here, and this comes closest: small would need about 5.4 GB of memory, and the "
        "trainer may take 4.0"
    )
    machine.changes["gpu_gb"] = 6.0
    assert pick(memory_gb=4.0, round_minutes=30, threads=3).order == ("small",)
    machine.changes["gpu_gb"] = 12.0
    assert pick(memory_gb=4.0, round_minutes=30, threads=4).order[0] == "large", "it is the GPU's"


def test_a_rough_measurement_is_made_again_when_it_would_have_to_decide(
    pick: Callable[..., auto.Picked], machine: Machine
) -> None:
    machine.changes["rough"] = True
    machine.steps["small"] = 60.0
    picked = pick()
    assert picked.why("small", Settings()).startswith(
        "no detector fits here, and this comes closest: small would take far more than ROUND_MINUTES=5"
    )
    machine.asked.clear()
    pick()
    assert machine.asked == []
    pick(round_minutes=200)
    assert machine.asked[0] == "small"


def test_candidates_are_those_that_say_their_strength(tmp_path: Path) -> None:
    settings = Settings(labelloop_home=tmp_path)
    folder = settings.configs_dir / "detectors"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("import nothing\ncoco_map = 30\n")
    (folder / "b.py").write_text("coco_map = 40.5\n")
    (folder / "c.py").write_text("loop = dict(iterations=3)\n")
    (folder / "d.py").write_text("this is no Python\n")
    (folder / "_base.py").write_text("coco_map = 90\n")
    assert auto.candidates(settings) == ["b", "a"], "read, and not run"
    (folder / "e.py").write_text("coco_map = 'high'\n")
    with pytest.raises(DetectorError, match=r"e\.py: coco_map = 'high', needed a number such as 32\.0"):
        auto.candidates(settings)


def test_the_repos_own_candidates_from_strong_to_weak() -> None:
    found = auto.candidates(Settings(labelloop_home=Path(__file__).parents[4]))
    kept = [name for name in found if name in ("yolox_s", "yolox_tiny", "yolox_nano")]
    assert kept == ["yolox_s", "yolox_tiny", "yolox_nano"]
    assert "yolox_mobilenetv2" not in found, "it has no detection weights"


def test_status_tells_the_rounds_times_and_how_to_change(
    pick: Callable[..., auto.Picked], machine: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "configs" / "detectors"
    folder.mkdir(parents=True)
    for strength, name in enumerate(reversed(STRONGEST_FIRST)):
        (folder / f"{name}.py").write_text(f"coco_map = {strength}\n")
    settings = Settings(labelloop_home=tmp_path, threads=2)
    assert auto.told(settings, "small", lambda: 8.0) is None, "nothing was measured"
    pick()
    times = (
        "a round on 40 labelled images: small takes about 1:41 min; middle takes about 4:41 min; large "
        "would take 20:11 min, more than ROUND_MINUTES=5"
    )
    assert auto.told(settings, "middle", lambda: 8.0) == times
    assert auto.told(settings, "small", lambda: 8.0) == (
        f"{times}. A new project would start with middle; `make up DETECTOR=middle` changes this one's"
    )
