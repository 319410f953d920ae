"""`make gpu-check`: python -m trainer.gpu_check [--device cuda:0] [--only boxes] [--out build/gpu-check]

Exit status 0: all is well; 1: a check failed, and its line has the figures; 65: there is no GPU to check.
"""

import argparse
import json
import os
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

from labelloop.errors import in_one_line
from trainer.env import get_settings
from trainer.gpu_check import device, run
from trainer.gpu_check.lines import Line, verdict
from trainer.gpu_check.place import Place

NO_GPU = 65


def main(arguments: list[str], place: Place | None = None) -> int:
    given = _parser().parse_args(arguments)
    warnings.simplefilter("ignore")
    settings = get_settings()
    accelerator = "cuda" if given.device.startswith("cuda") else "cpu"
    place = place or Place(settings.model_copy(update={"accelerator": accelerator}))
    place = replace(place, device=given.device)
    try:
        device.require(given.device)
    except device.NoGpu as error:
        print(in_one_line(error), file=sys.stderr)
        return NO_GPU
    if given.json:
        for line in run.lines_of(given.only, place):
            print(json.dumps(line.as_json(), default=str), flush=True)
        return 0
    checks = [check for check in run.CHECKS if given.only in ("", check.name)]
    began = time.monotonic()
    lines = run.all_lines(checks, run.this_program(given.device), _say)
    seconds = time.monotonic() - began
    print(f"{sum(not line.ok for line in lines)} of {len(lines)} failed, {seconds:.0f} s")
    if given.out:
        print(f"as JSON: {run.write(Path(given.out), run.report(lines, seconds))}")
    return 0 if verdict(lines) else 1


def _say(line: Line) -> None:
    print(line.text(), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="cpu has the CPU in the GPU's place, for tests")
    parser.add_argument("--only", default="", choices=["", *(check.name for check in run.CHECKS)])
    parser.add_argument("--out", default="", help="the folder for gpu-check.json")
    parser.add_argument("--json", action="store_true", help="one check's lines, for the program itself")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("LABELLOOP_HOME", str(Path.cwd()))
    sys.exit(main(sys.argv[1:]))
