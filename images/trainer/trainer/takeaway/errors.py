"""Why a model cannot be taken along."""

from labelloop.errors import Explained


class CannotTake(Explained):
    """The version cannot be had in this form; the message says why, and which form is possible."""
