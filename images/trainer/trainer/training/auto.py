"""Decides what DETECTOR=auto stands for: the strongest detector whose round stays within ROUND_MINUTES here.

A detector's config takes part if it says its strength, the mAP on COCO of its published weights:
    coco_map = 32.0
How fast each trains is measured (trainer.training.speed) once for a machine and a config, and kept in
volumes/cache/speed.json. A round is foreseen from that: of TYPICAL labelled images, with the model's start
and its look at the hold-out.
"""

import ast
import hashlib
import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from labelloop.detector import DetectorError
from labelloop.files import write_text
from labelloop.settings import Settings
from trainer.system.memory import usable_gb
from trainer.training.length import REFERENCE_IMAGES
from trainer.training.speed import Measured, Measuring
from trainer.words import duration

log = logging.getLogger(__name__)

TYPICAL = REFERENCE_IMAGES
PROCESSES = 2
"""A round starts a process that trains, and one that compares: each imports torch and mmdet."""
LOOKS = 2
"""Candidate and champion each look at the hold-out."""
GPU_SHARE = 0.8
"""Of a GPU's memory, which the ML backend uses too."""
SPEED_FILE = "speed.json"


class Kept(BaseModel):
    """What was measured of a detector. config: the SHA-256 of its config, bases included."""

    config: str
    measured: Measured


class Speeds(BaseModel):
    """The content of speed.json: by machine, then by detector."""

    machines: dict[str, dict[str, Kept]] = {}


@dataclass(frozen=True)
class Foreseen:
    """A detector's round, as it is foreseen here. too_much: why its memory is not there; None if it is."""

    detector: str
    seconds: float
    rough: bool = False
    too_much: str | None = None

    def fits(self, settings: Settings) -> bool:
        return self.too_much is None and self.seconds <= 60 * settings.round_minutes

    def words(self, settings: Settings) -> str:
        """What it would take, and what speaks against it."""
        if self.too_much is not None:
            return f"{self.detector} {self.too_much}"
        if self.fits(settings):
            return f"{self.detector} takes about {duration(self.seconds)}"
        limit = f"ROUND_MINUTES={settings.round_minutes:g}"
        if self.rough:
            return f"{self.detector} would take far more than {limit}"
        return f"{self.detector} would take {duration(self.seconds)}, more than {limit}"


@dataclass(frozen=True)
class Picked:
    """The detectors in the order in which they are to be tried, and what is known of them.

    larger: detectors that were not looked at, since a smaller one takes too long. failed: why measuring broke
    off, in words.
    """

    order: tuple[str, ...]
    foreseen: tuple[Foreseen, ...] = ()
    larger: tuple[str, ...] = ()
    failed: str | None = None

    def why(self, detector: str, settings: Settings) -> str:
        """Why this one of `order` is taken."""
        own = next((each for each in self.foreseen if each.detector == detector), None)
        if own is None:
            unmeasured = f"how fast detectors train here is not known ({self.failed})"
            return unmeasured if self.failed else "it is the only one whose weights can be had"
        told = [f"a round on {TYPICAL} labelled images takes about {duration(own.seconds)} here"]
        if not own.fits(settings):
            told = [f"no detector fits here, and this comes closest: {own.words(settings)}"]
        told += [
            each.words(settings) for each in self.foreseen if each is not own and not each.fits(settings)
        ]
        if self.larger:
            told.append(f"{', '.join(self.larger)} would take longer still")
        if self.failed:
            told.append(self.failed)
        return "; ".join(told)


def candidates(settings: Settings) -> list[str]:
    """The detectors that say their strength, the strongest first.

    Raises:
        DetectorError: one says something that is no number.
    """
    found = []
    for path in sorted((settings.configs_dir / "detectors").glob("[!_]*.py")):
        strength = _strength(path)
        if strength is not None:
            found.append((strength, path.stem))
    return [name for _, name in sorted(found, key=lambda each: -each[0])]


def _strength(path: Path) -> float | None:
    """The value of coco_map in a config, which is read but not run; None without one."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError) as error:
        log.warning("%s cannot be read, so DETECTOR=auto passes it over: %s", path, error)
        return None
    for statement in body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "coco_map":
            value = statement.value.value if isinstance(statement.value, ast.Constant) else None
            if not isinstance(value, int | float):
                raise DetectorError(
                    f"{path}: coco_map = {ast.unparse(statement.value)}, needed a number such as 32.0, the "
                    "mAP in percent; or leave the line out"
                )
            return float(value)
    return None


def pick(
    had: Sequence[str],
    settings: Settings,
    measuring: Measuring,
    stamp: Callable[[str], str],
    unmeasured: str,
    memory_gb: Callable[[], float] = usable_gb,
) -> Picked:
    """Which of the detectors to take. Each that is not known yet is measured, from the weakest to the first
    that takes too long or too much. One alone is not measured.

    had: the detectors whose weights can be had, the strongest first. stamp: the SHA-256 of a detector's
    config. unmeasured: the detector to take where nothing could be measured. memory_gb: what the trainer may
    take, in 10^9 bytes.
    """
    if len(had) < 2:
        return Picked(tuple(had))
    path, here = settings.cache_dir / SPEED_FILE, machine(settings)
    speeds = _load(path)
    known = speeds.machines.setdefault(here, {})
    stamps = {name: stamp(name) for name in had}
    see = partial(foresee, settings=settings, memory_gb=memory_gb())
    weakest_first = list(reversed(had))
    missing = [name for name in weakest_first if not _holds(known.get(name), stamps[name], see, settings)]
    foreseen: list[Foreseen] = []
    failed = None
    with closing(measuring(missing, settings)) as measured:
        for name in weakest_first:
            if name in missing:
                _, found = next(measured)
                if isinstance(found, str):
                    failed = f"{name}: {found}"
                    break
                known[name] = Kept(config=stamps[name], measured=found)
                write_text(path, speeds.model_dump_json(indent=1) + "\n")
            foreseen.append(see(name, known[name].measured))
            if not foreseen[-1].fits(settings):
                break
    fitting = [each.detector for each in reversed(foreseen) if each.fits(settings)]
    others = sorted((each for each in foreseen if not each.fits(settings)), key=_cost)
    order = [*fitting, *(each.detector for each in others)]
    larger = weakest_first[len(foreseen) :] if failed is None else []
    if not order:
        order = [unmeasured, *weakest_first] if unmeasured in had else weakest_first
    return Picked(tuple(dict.fromkeys(order)), tuple(foreseen), tuple(larger), failed)


def _cost(foreseen: Foreseen) -> tuple[bool, float]:
    return foreseen.too_much is not None, foreseen.seconds


def _holds(
    kept: Kept | None, stamp: str, see: Callable[[str, Measured], Foreseen], settings: Settings
) -> bool:
    """Whether what is kept still says what is asked: of this config, and closely enough for the limit."""
    if kept is None or kept.config != stamp:
        return False
    return not kept.measured.rough or see("", kept.measured).seconds > 2 * 60 * settings.round_minutes


def foresee(detector: str, measured: Measured, settings: Settings, memory_gb: float) -> Foreseen:
    """A round on TYPICAL labelled images. memory_gb: what the trainer may take."""
    iterations = settings.iterations or measured.iterations
    held_out = TYPICAL * settings.holdout_percent / 100
    seconds = (
        PROCESSES * measured.ready_s + iterations * measured.iteration_s + LOOKS * held_out * measured.look_s
    )
    may = memory_gb if measured.gpu_gb is None else GPU_SHARE * measured.gpu_gb
    whose = "the trainer" if measured.gpu_gb is None else "it on the GPU"
    too_much = (
        f"would need about {measured.memory_gb:.1f} GB of memory, and {whose} may take {may:.1f}"
        if measured.memory_gb > may
        else None
    )
    return Foreseen(detector, seconds, measured.rough, too_much)


def told(settings: Settings, present: str, memory_gb: Callable[[], float] = usable_gb) -> str | None:
    """How long rounds take on this machine, as far as it was measured, for people; None before it was.

    present: the detector of a project's model in service. If it is another than auto would take for a new
    project, the way to change is named: auto changes no project's detector.
    """
    kept = _load(settings.cache_dir / SPEED_FILE).machines.get(machine(settings), {})
    strongest_first = [name for name in candidates(settings) if name in kept]
    see = partial(foresee, settings=settings, memory_gb=memory_gb())
    foreseen = [see(name, kept[name].measured) for name in strongest_first]
    if not foreseen:
        return None
    words = "; ".join(each.words(settings) for each in reversed(foreseen))
    best = next((each.detector for each in foreseen if each.fits(settings)), None)
    change = ""
    if best not in (None, present):
        change = f". A new project would start with {best}; `make up DETECTOR={best}` changes this one's"
    return f"a round on {TYPICAL} labelled images: {words}{change}"


def machine(settings: Settings) -> str:
    """The machine in words: what has an influence on how fast it trains."""
    gpu = ""
    if settings.accelerator == "cuda":
        gpu = f", {_field('Model', *Path('/proc/driver/nvidia/gpus').glob('*/information')) or 'GPU'}"
    cores = len(os.sched_getaffinity(0))
    processor = _field("model name", Path("/proc/cpuinfo")) or platform.machine()
    return f"{processor}, {cores} cores, {settings.threads} threads{gpu}"


def _field(name: str, *paths: Path) -> str:
    """The value in the first line "name : value" of the files; empty without one."""
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return " ".join(value.split())
    return ""


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _load(path: Path) -> Speeds:
    try:
        return Speeds.model_validate_json(path.read_bytes())
    except OSError:
        return Speeds()
    except ValidationError:
        log.warning("%s is damaged: how fast detectors train is measured anew", path)
        return Speeds()
