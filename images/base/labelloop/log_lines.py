"""The form of our programs' log lines."""

LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
SHORT_LINE = "%(asctime)s %(levelname)s %(message)s"
TIMES = "%Y-%m-%d %H:%M:%S %Z"
"""A line's time names its zone: in containers UTC, without Docker the host's."""
