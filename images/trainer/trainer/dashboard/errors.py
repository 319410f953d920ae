"""The error of a report, in a module that the command line can import without loading the dashboard."""

from labelloop.errors import Explained


class ReportError(Explained):
    """The report cannot be written; the message says why."""
