"""The appliance measured against its alternatives, in one run on one machine: `make bench [NAME=VALUE …]`.

Options says what can be set. bench.json is written after every section, so a run that breaks off leaves what
it measured.
"""

import os
import sys
import traceback
from importlib import import_module

from bench.machine import describe
from bench.options import Options
from bench.report import Report
from support.stack import default_runtime

# Name → module with `run(options: Options) -> Iterator[Figure]`, imported when its turn comes.
SECTIONS = {
    "startup": "bench.startup",
    "serving": "bench.serving",
    "training": "bench.training",
    "simulation": "bench.simulation",
    "label_errors": "bench.label_errors",
    "growth": "bench.growth",
    "load": "bench.load",
}
# `make load` runs it.
APART = "load"


def main(arguments: list[str]) -> int:
    """Returns: the exit status, 1 when a section could not be measured. A missed target is a result."""
    try:
        options = Options.parse(arguments)
        wanted = options.only or tuple(name for name in SECTIONS if name != APART)
        unknown = [name for name in wanted if name not in SECTIONS]
        if unknown:
            raise ValueError(
                f"ONLY={','.join(wanted)}: no section {unknown[0]!r}; there are {', '.join(SECTIONS)}"
            )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.runtime == "auto":
        options = options.model_copy(update={"runtime": default_runtime()})
    os.environ["RUNTIME"] = options.runtime
    report = Report(options.out, describe(options), options.model_dump(mode="json"))
    for name in wanted:
        print(f"\n{name}", flush=True)
        try:
            for figure in import_module(SECTIONS[name]).run(options):
                report.add(figure)
        except Exception as error:
            traceback.print_exc()
            report.failed[name] = f"{type(error).__name__}: {error}"
        report.write()
    print()
    report.show()
    print(f"\nwritten: {report.write()}, {report.chart() or 'no chart: no figure has a target'}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
