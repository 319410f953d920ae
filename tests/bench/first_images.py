"""The first images of labels that nobody knows, with clicks and what is learnt at once, and without both."""

from collections.abc import Iterator
from typing import Any

from bench.options import Options
from bench.report import Figure, figure
from bench.simulation import a_stack, simulated

from trainer.judging.effort import TABLES

SECTION = "first_images"
IMAGES = 10
WITHOUT = {"CLICKS": 0, "AT_ONCE": 0}
# The goal is a third of the time saved on the first ten images.
SECONDS_TARGET = 0.65


def run(options: Options) -> Iterator[Figure]:
    """Two runs of `make simulate` on the first of SEEDS, without a round.

    Raises:
        ValueError: COCO is not given. RuntimeError: a simulation failed.
    """
    given: dict[str, object] = {
        "COCO": options.coco_dir().resolve(),
        "SEEDS": options.seeds[0],
        "ORDERS": "uncertainty",
        "SCHEDULE": "none",
        "BUDGET": IMAGES,
    }
    if options.predicted:
        given["PREDICTED"] = options.predicted
    if options.costs:
        given["COSTS"] = options.costs
    with a_stack(options) as stack:
        (ours, command), (without, _) = (
            simulated(stack, given | other, options.out) for other in ({}, WITHOUT)
        )
    yield from figures(ours, without, command)


def figures(ours: dict[str, Any], without: dict[str, Any], command: str) -> Iterator[Figure]:
    """A person's seconds on these images by both tables of costs, against those of a person who draws."""
    command = (
        f"{command}, against the same with {' '.join(f'{name}={value}' for name, value in WITHOUT.items())}"
    )
    for table in TABLES:
        mine, its = (summary["runs"][0][f"seconds_first_images_{table}"] for summary in (ours, without))
        name = f"a person's time on the first {IMAGES} images, {table} costs"
        yield figure(SECTION, name, mine, "s", command, baseline=its, at_most=SECONDS_TARGET)
