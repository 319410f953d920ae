"""Measures how fast detectors train: `python -m trainer.training.measure FOLDER DETECTOR ...`.

What was measured of one (trainer.training.speed.Measured) is a line of JSON in FOLDER/measured.jsonl before
the next begins.
"""

import logging
import os
import sys
from pathlib import Path

from labelloop.settings import get_settings
from trainer.system.children import die_with_parent
from trainer.training.cores import usage
from trainer.training.speed import MEASURED, alone_s


def main(arguments: list[str]) -> int:
    started = usage()
    die_with_parent()
    # How long it takes to import torch and mmdet is measured, too.
    from trainer.training import steps

    ready_s, _ = alone_s(started, usage(), 1, len(os.sched_getaffinity(0)))
    logging.disable(logging.INFO)  # mmcv would list its hooks for every detector
    folder = Path(arguments[0])
    steps.make_images(folder)
    for detector in arguments[1:]:
        found = steps.measure(detector, get_settings(), folder, ready_s)
        with (folder / MEASURED).open("a", encoding="utf-8") as file:
            file.write(found.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
