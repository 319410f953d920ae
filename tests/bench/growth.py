"""Time and memory of the trainer's work against the number of tasks, on a real Label Studio."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.appliance import Appliance, databases
from bench.growth_operations import PAGES, PORTION, Measured
from bench.options import Options
from bench.report import Figure, figure, slope

TIME_TARGET, MEMORY_TARGET = 1.1, 1.5
# Tasks a second, by what a second of processor gives; and the seconds that anybody may wait.
RATE_TARGET, WAIT_TARGET_S = 1000.0, 2.0
# Operation → what it does.
OPERATIONS = {
    "import": "import of all images",
    "look": "look for new images, none there",
    "import-one": "import of one more image",
    "check": "decoding every image once",
    "prelabel": "pre-labelling without the model",
    "intake": "labels brought",
    "unpredicted": "ordering: tasks to pre-label",
    "lacking": "how many lack a prediction, none does",
    "next-task": "ordering: Label Studio's next task",
    "list": "Label Studio's own list, its first page",
    "open": "a task is opened",
    "submit": "an annotation is submitted",
    "snapshot": "snapshot",
    "status": "status",
    "pages": "the dashboard's pages",
    "export": "export as COCO, of a snapshot",
}
MORE = {f"{name}-more": f"{OPERATIONS[name]}, {PORTION} more" for name in ("import", "prelabel", "intake")}
"""Of rows that are there already, so many more are imported, pre-labelled and brought labels of."""
ON_ROWS = (*list(OPERATIONS)[list(OPERATIONS).index("unpredicted") :], *MORE)
RATES = ("import", "prelabel", "intake", *MORE)
WAITS = ("next-task", "list", "open", "submit", "status", *PAGES)
Found = dict[str, dict[int, Measured]]
"""What was measured, by operation or page, and by the number of tasks."""


def run(options: Options) -> Iterator[Figure]:
    """Every operation at every count, then slopes and memory over all counts."""
    measured: Found = {}
    words = [f"SIZES={','.join(map(str, sorted(options.sizes)))}"]
    words += [f"DATABASE={options.database}"] if options.database != "sqlite" else []
    words += ["GENERATED=1"] if options.generated else []
    command = f"make bench ONLY=growth {' '.join(words)}"
    operations = ON_ROWS if options.generated else OPERATIONS
    with databases(options.database) as new:
        for size in sorted(options.sizes):
            with tempfile.TemporaryDirectory(prefix="labelloop-growth-") as home:
                appliance = Appliance(Path(home), size, new(f"growth{size}"))
                for name, result in appliance.measure(operations, options.generated):
                    measured.setdefault(name, {})[size] = result
                    yield from told(name, size, result, command)
                label_studios = f"Label Studio's processes, {size} tasks: peak memory"
                yield figure("growth", label_studios, appliance.peak_mb, "MB", command)
    yield from summary(measured, command)


def title_of(name: str) -> str:
    return (OPERATIONS | MORE).get(name, name)


def told(name: str, size: int, result: Measured, command: str) -> Iterator[Figure]:
    """The figures of one operation with so many tasks."""
    title = f"{title_of(name)}, {size} tasks"
    most = WAIT_TARGET_S if name in WAITS else None
    yield figure("growth", title, result.seconds, "s", command, at_most=most)
    if name in RATES:
        rate = result.count / result.processor_s
        yield figure(
            "growth", f"{title}: for a second of processor", rate, "tasks", command, at_least=RATE_TARGET
        )


def summary(measured: Found, command: str) -> Iterator[Figure]:
    """Per operation the log-log slopes of its time and of the processor's, and its memory with the most tasks
    against the fewest.
    """
    for name, by_size in measured.items():
        title = title_of(name)
        for what, values in (
            ("time", [result.seconds for result in by_size.values()]),
            ("processor", [result.processor_s for result in by_size.values()]),
        ):
            grows = slope(list(by_size), values)
            yield figure("growth", f"{title}: {what}", grows, "slope", command, at_most=TIME_TARGET)
        yield figure(
            "growth",
            f"{title}: memory",
            by_size[max(by_size)].peak_mb,
            "MB",
            command,
            baseline=by_size[min(by_size)].peak_mb,
            at_most=MEMORY_TARGET,
        )
