"""Log lines of our own programs."""

import logging

from labelloop.log_lines import LINE, TIMES
from labelloop.settings import get_settings


def configure() -> None:
    """To standard error: our own lines from LOG_LEVEL on, the libraries' warnings."""
    logging.basicConfig(level=logging.WARNING, format=LINE, datefmt=TIMES)
    logging.getLogger("provisioner").setLevel(get_settings().log_level)
