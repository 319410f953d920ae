"""How fast detectors train on this machine. A process of its own (trainer.training.measure) takes a few real
steps with each, and this module starts it and reads what it writes.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from labelloop.settings import Settings
from trainer.system.children import describe
from trainer.training.cores import Usage
from trainer.training.members import training_environment

if TYPE_CHECKING:
    from mmcv import Config

MEASURED = "measured.jsonl"
BUDGET_S = 18.0
"""What is not measured by then is left: `make up` waits for the starting model, and must not wait long."""
POLL_S = 0.1
WARM_UP, STEPS = 2, 2
"""The first steps take longer: memory is asked for, and images are decoded."""
CPU_BATCH = 4
"""Images of a measured step on a CPU, where a step's time is nearly in proportion to these."""
HOPELESS = 3.0
"""One step is enough if by it a round would take so many times ROUND_MINUTES."""
IMAGES, SIZE, BOXES = 8, (640, 480), 6
CLASSES = ("ball", "crate")


class Measured(BaseModel):
    """How fast a detector trains on this machine, if nothing else used its cores.

    iteration_s: seconds of an iteration with the config's batch. look_s: to look at one image. ready_s: until
    a process has imported what it needs. memory_gb: the most that training takes, in 10^9 bytes; of the GPU
    where there is one, whose whole memory is gpu_gb then. iterations: the config's, for 40 labelled images.
    share: the share of the cores that the measuring had.
    """

    iterations: int
    iteration_s: float
    look_s: float
    ready_s: float
    memory_gb: float
    gpu_gb: float | None = None
    share: float = 1.0
    rough: bool = False


Measuring = Callable[[Sequence[str], Settings], Generator[tuple[str, Measured | str], None, None]]


def measuring(
    detectors: Sequence[str], settings: Settings, clock: Callable[[], float] = time.monotonic
) -> Generator[tuple[str, Measured | str], None, None]:
    """What is measured of the detectors, in their order, each as soon as it is known.

    A detector that ends the process gives the reason, in words; so does the one at which BUDGET_S ran out.
    Nothing is measured after it. Closing the generator ends the process. clock: seconds.
    """
    deadline = clock() + BUDGET_S
    with tempfile.TemporaryDirectory() as name, _process(Path(name), detectors, settings) as process:
        for position, detector in enumerate(detectors):
            while True:
                ended = process.poll()
                found = _lines(Path(name) / MEASURED)
                if len(found) > position:
                    yield detector, Measured.model_validate_json(found[position])
                    break
                if ended is not None:
                    yield detector, f"measuring it was ended by {describe(ended)}"
                    return
                if clock() > deadline:
                    yield detector, f"it could not be measured within {BUDGET_S:.0f} s"
                    return
                time.sleep(POLL_S)


@contextmanager
def _process(
    folder: Path, detectors: Sequence[str], settings: Settings
) -> "Iterator[subprocess.Popen[bytes]]":
    """The measuring process; it is ended with the block. It has the environment of a round's training."""
    environment = training_environment(settings.threads, settings.accelerator)
    command = [sys.executable, "-m", "trainer.training.measure", str(folder), *detectors]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _lines(path: Path) -> list[str]:
    """The whole lines of a file that is being written."""
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []


def alone_s(before: Usage, after: Usage, threads: int, cores: int) -> tuple[float, float]:
    """The seconds that the same would have taken if nothing else had used the cores, and the share of the
    cores that was ours.

    >>> alone_s(Usage(0.0, 0.0, 0.0), Usage(8.0, 8.0, 0.0), threads=2, cores=2)
    (4.0, 0.5)
    >>> alone_s(Usage(0.0, 0.0, 0.0), Usage(8.0, 8.0, 8.0), threads=2, cores=2)
    (8.0, 1.0)
    """
    wall = after.now - before.now
    had = after.used - before.used + after.idle - before.idle
    share = min(1.0, max(0.01, had / (wall * min(threads, cores)))) if wall > 0 else 1.0
    return wall * share, share


def areas(config: "Config") -> tuple[float, float]:
    """The mean and the largest area of a training image, in that of the first iterations, for a detector that
    draws another size now and then, as YOLOX does.
    """
    drawn = config.model.get("random_size_range")
    if not drawn:
        return 1.0, 1.0
    height, width = config.model.get("input_size", (640, 640))
    multiple = config.model.get("size_multiplier", 32)
    sides = [(multiple * count) ** 2 for count in range(drawn[0], drawn[1] + 1)]
    return sum(sides) / len(sides) / (height * width), max(sides) / (height * width)
