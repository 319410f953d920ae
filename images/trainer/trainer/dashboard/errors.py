"""What goes wrong with a report, for a command line that does not load the dashboard to catch it."""

from labelloop.errors import Explained


class ReportError(Explained):
    """The report cannot be written; the message says why."""
