"""What goes wrong with a report, for a command line that does not load the dashboard to catch it."""


class ReportError(RuntimeError):
    """The report cannot be written; the message says why."""
