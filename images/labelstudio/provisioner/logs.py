"""Log lines of our own programs."""

import logging

from labelloop.settings import get_settings


def configure() -> None:
    """To standard error: our own lines from LOG_LEVEL on, the libraries' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("provisioner").setLevel(get_settings().log_level)
