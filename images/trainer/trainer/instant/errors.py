"""Why a project does not learn at once."""

from labelloop.errors import Explained


class CannotLearn(Explained):
    """A champion's head cannot be learnt at once; the message says why."""
