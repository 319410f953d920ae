"""Where the backend's words go: standard output, one line each."""

import logging
import os
import sys
import warnings

from labelloop.log_lines import LINE, TIMES


class _Console(logging.StreamHandler):  # type: ignore[type-arg]
    """A class of its own: mmcv sets every root handler of exactly StreamHandler's type to ERROR."""


def configure() -> None:
    """LOG_LEVEL and above, and none of what mmcv and torch say at every import."""
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO").upper(),
        format=LINE,
        datefmt=TIMES,
        handlers=[_Console(sys.stdout)],
    )
    for noisy in ("torch.utils.cpp_extension", "matplotlib", "urllib3", "mmcv"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"mmcv|mmdet|torch")
