"""Runs all orders and seeds one after the other, shows the steps, and writes them as JSON."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from labelloop.files import write_text
from trainer.judging.effort import PAGE_TABLES, TABLES
from trainer.simulate.dataset import Dataset
from trainer.simulate.figures import RunFigures
from trainer.simulate.models import Scorer
from trainer.simulate.options import Options
from trainer.simulate.run import Run, World
from trainer.simulate.signals import ended_like_ctrl_c
from trainer.simulate.summary import summary
from trainer.simulate.table import HEADER, line, tables
from trainer.words import duration, plural

FOLDER = "simulate"


def simulate(world: World, options: Options) -> Path:
    """Runs the simulation on the dataset that `make simulate` has put among the uploads.

    It writes volumes/rounds/simulate-<time>.jsonl, one line per step, and simulate-<time>.json with options
    and summary. If it is interrupted, the summary has the complete runs. Returns: the summary's path.

    Raises:
        DatasetError: the dataset cannot be used. SimulationError, StudioError, WorkerGone: see Run.steps.
    """
    _quiet()
    display, began = world.display, datetime.now()
    dataset = Dataset.load(world.settings.uploads_dir / FOLDER / options.name, options.predicted)
    display.say(
        f"{options.name}: {plural(len(dataset.train), 'image')} to label, {_rounds(options, dataset)}; "
        f"scored on {len(dataset.test)}"
    )
    for remark in dataset.remarks:
        display.say(remark)
    stem = world.settings.rounds_dir / f"simulate-{began:%Y%m%d-%H%M%S}"
    scorer, complete = Scorer(dataset, world.settings, options.costs), list[RunFigures]()
    try:
        with stem.with_suffix(".jsonl").open("a", encoding="utf-8") as lines, ended_like_ctrl_c():
            for run in _runs(world, dataset, scorer, options):
                with closing(run.steps()) as steps:
                    for step in steps:
                        print(json.dumps(step.as_row()), file=lines, flush=True)
                        if not step.step:
                            display.say(HEADER)
                        display.say(line(step))
                if run.figures:
                    complete.append(run.figures)
    finally:
        about = {"options": asdict(options), **_about(dataset, began)}
        document = about | summary(complete, options.reach)
        write_text(stem.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
    for table in tables(document):
        display.console.print(table)
    shown = stem.relative_to(world.settings.labelloop_home)
    display.say(f"{duration((datetime.now() - began).total_seconds())}; {shown}.json, {shown}.jsonl")
    return stem.with_suffix(".json")


def _rounds(options: Options, dataset: Dataset) -> str:
    """When rounds train, in words."""
    if options.auto:
        return f"{options.most(len(dataset.train))} of them at most, rounds as the appliance opens them"
    counts = ", ".join(map(str, options.counts(len(dataset.train))))
    return f"rounds at {counts}" if options.trains else f"{counts} of them, without rounds"


def _quiet() -> None:
    """Silences the heavy libraries, which warn of deprecations and missing GPUs when they are imported."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def _runs(world: World, dataset: Dataset, scorer: Scorer, options: Options) -> Iterator[Run]:
    """All runs, seed by seed, so that an interrupted simulation has both orders to compare."""
    for seed in options.seeds:
        for order in options.orders:
            yield Run(world, dataset, scorer, options, order, seed)


def _about(dataset: Dataset, began: datetime) -> dict[str, Any]:
    return {
        "tables": {name: asdict(costs) | asdict(PAGE_TABLES[name]) for name, costs in TABLES.items()},
        "began": began.isoformat(timespec="seconds"),
        "train_images": len(dataset.train),
        "train_boxes": sum(len(image.boxes) for image in dataset.train),
        "test_images": len(dataset.test),
        "left_out": dataset.left_out,
        "unreadable": dataset.unreadable,
    }
