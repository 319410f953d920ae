"""What the loop saves a person: `make simulate` on a stack of its own."""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.options import Options
from bench.report import Figure, figure
from bench.startup import throw_away_stack
from support.stack import Stack

from trainer.judging.effort import TABLES
from trainer.simulate.promotions import UNDONE_WITHIN
from trainer.simulate.show import AT_LABELS

SECTION = "simulation"
SIMULATION_S = 24 * 3600.0
SAVED_TARGET = 0.65
LABELS_TARGET = 0.8
WRONG_TARGET = 0.05
LEARNING_S_TARGET = 15.0


def run(options: Options) -> Iterator[Figure]:
    """All orders and seeds on COCO's train.json, scored on test.json.

    LABELS sets the numbers of labels at which rounds train; without it `make simulate` does. Its files are
    kept in OUT.

    Raises:
        ValueError: COCO is not given. RuntimeError: the simulation failed, or took longer than SIMULATION_S.
    """
    given: dict[str, object] = {
        "COCO": options.coco_dir().resolve(),
        "SEEDS": ",".join(map(str, options.seeds)),
    }
    if "labels" in options.model_fields_set:
        given["SCHEDULE"] = ",".join([*map(str, options.labels), "all"])
    if options.predicted:
        given["PREDICTED"] = options.predicted
    if options.costs:
        given["COSTS"] = options.costs
    with a_stack(options) as stack:
        summary, command = simulated(stack, given, options.out)
    yield from figures(summary, command)


@contextmanager
def a_stack(options: Options) -> Iterator[Stack]:
    """A stack of its own, up, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        stack = throw_away_stack(Path(scratch) / "appliance")
        try:
            stack.run("up", PORT=stack.port, THREADS=options.threads)
            yield stack
        finally:
            stack.run("down", check=False, timeout=180)


def simulated(stack: Stack, given: dict[str, object], out: Path) -> tuple[dict[str, Any], str]:
    """Runs `make simulate` and keeps its files in `out`. Returns: its summary, and the command line.

    Raises:
        RuntimeError: it failed, or took longer than SIMULATION_S.
    """
    try:
        _simulate(stack, given)
    finally:
        kept = _keep(stack, out)
    command = " ".join(["make simulate", *(f"{name}={value}" for name, value in given.items())])
    return json.loads(max(kept).read_bytes()), command


def _simulate(stack: Stack, given: dict[str, object]) -> None:
    """Shows what it prints; it takes hours."""
    with stack.start("simulate", **given) as simulating:
        limit = threading.Timer(SIMULATION_S, simulating.terminate)
        limit.start()
        try:
            for line in simulating.stdout or ():
                print(line, end="", flush=True)
            status = simulating.wait()
        except BaseException:
            simulating.terminate()
            raise
        finally:
            limit.cancel()
    if status:
        raise RuntimeError(f"make simulate ended with {status}")


def _keep(stack: Stack, out: Path) -> list[Path]:
    """Copies what the simulation has written, as far as it has come, to where bench.json is. Returns: its
    summaries.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = sorted((stack.home / "volumes" / "rounds").glob("simulate-*.json*"))
    copies = [Path(shutil.copy2(path, out)) for path in written]
    return [path for path in copies if path.suffix == ".json"]


def figures(summary: dict[str, Any], command: str) -> Iterator[Figure]:
    """From the summary of a simulation, means over the seeds."""

    def share(name: str, spread: dict[str, Any] | None, at_least: float | None = None) -> Iterator[Figure]:
        if spread is not None:
            yield figure(SECTION, f"{name}{_sd(spread)}", spread["mean"], "", command, at_least=at_least)

    for order, totals in summary["orders"].items():
        target = SAVED_TARGET if order == "uncertainty" else None
        yield from share(f"{order}: time saved against all by hand", totals["saved_by_hand"], target)
        yield from share(f"{order}: time saved against one round only", totals["saved_one_round"])
        for table in TABLES:
            by_hand, one_round = (totals.get(f"saved_{than}_{table}") for than in ("by_hand", "one_round"))
            yield from share(f"{order}: time saved against all by hand, {table} costs", by_hand)
            yield from share(f"{order}: time saved against one round only, {table} costs", one_round)
            first = totals.get(f"saved_first_images_{table}")
            yield from share(f"{order}: time saved on the first ten images, {table} costs", first)
        yield from share(f"{order}: first clicks that fetched a right box", totals.get("first_click_right"))
        if (shown := summary.get("show", {}).get(order)) is not None:
            yield from _in_short(order, shown, command)
        if (most := totals.get("learning_most_s")) is not None:
            name = f"{order}: a submission to boxes that learnt from it, at most{_sd(most)}"
            yield figure(SECTION, name, most["mean"], "s", command, at_most=LEARNING_S_TARGET)
    for row in summary["steps"]:
        at = f"{row['order']}, {row['labels']} labels"
        yield from share(f"{at}: mAP", row["mAP"])
        yield from share(f"{at}: proposed boxes accepted", row["share_accepted"])
    yield from _promotions(summary.get("promotions"), command)
    seeds = len(summary["options"]["seeds"])
    for row in summary["labels_needed"]:
        yield _fewer_labels(row, seeds, command)
    for row in summary["labels_needed_on_means"]:
        if row["uncertainty"] is not None:
            name = (
                f"labels to mAP {row['mAP']:.3f}, mean curves of {row['seeds']} seeds, uncertainty / random"
            )
            yield figure(SECTION, name, row["uncertainty"], "labels", command, baseline=row["labels"])


def _in_short(order: str, shown: dict[str, Any], command: str) -> Iterator[Figure]:
    """What the page Verify did, and the newest version's mAP with AT_LABELS labels."""
    if (share := shown["share_verified"]) is not None and share["mean"]:
        verified = shown["verified"]
        name = f"{order}: images submitted from the page Verify{_sd(share)}"
        yield figure(SECTION, name, share["mean"], "", command)
        for what in ("wrong", "missed"):
            words = {"wrong": "their boxes that are wrong", "missed": "objects missed in them"}[what]
            of_all = f"of {verified['right'] + verified[what]}"
            yield figure(SECTION, f"{order}: {words}", verified[what], of_all, command)
        for table, saved in shown["in_editor"].items():
            name = f"{order}: time saved had every image been opened, {table} costs{_sd(saved)}"
            yield figure(SECTION, name, saved["mean"], "", command)
    if (found := shown["mAP"]) is not None:
        name = f"{order}: mAP with {AT_LABELS} labels, the newest version{_sd(found)}"
        yield figure(SECTION, name, found["mean"], "", command)


def _promotions(counts: dict[str, Any] | None, command: str) -> Iterator[Figure]:
    """Of a summary from before they were counted, nothing."""
    if not counts or not counts["rounds"]:
        return
    said = f"promotions of {counts['rounds']} rounds that the test images call"
    for name, words in (("wrong", "wrong, by mAP"), ("slower", "slower to correct")):
        share = counts[f"share_{name}"]
        yield figure(SECTION, f"{said} {words}", share, "", command, at_most=WRONG_TARGET)
        if counts[name]:
            undone = counts[f"{name}_undone_soon"]
            unit = f"of {counts[name]}"
            of_these = f"of these undone within {UNDONE_WITHIN} images: {words}"
            yield figure(SECTION, of_these, undone, unit, command, at_least=counts[name])


def _fewer_labels(row: dict[str, Any], seeds: int, command: str) -> Figure:
    """Judged seed by seed, and only if both orders got there in every one."""
    name, ratio = f"labels to mAP {row['target']:.3f}, uncertainty / random", row["ratio"]
    reached = ratio["n"] if ratio else 0
    if reached < seeds:
        name = f"{name}: reached by labelling in"
        return figure(SECTION, name, reached, f"of {seeds} seeds", command, at_least=seeds)
    return figure(SECTION, f"{name}{_sd(ratio)}", ratio["mean"], "", command, at_most=LABELS_TARGET)


def _sd(spread: dict[str, Any]) -> str:
    return "" if spread["sd"] is None else f" (± {spread['sd']:.3f}, {spread['n']} seeds)"
