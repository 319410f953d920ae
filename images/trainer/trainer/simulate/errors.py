"""The errors of a simulation that do not occur in the loop itself."""

from labelloop.errors import Explained


class OptionError(Explained):
    """An option cannot be used; the message names it, its value and the possible values."""


class DatasetError(Explained):
    """The folder holds no usable dataset; the message names the file."""


class SimulationError(Explained):
    """A round failed, or Label Studio hands out no task although some are left; the message says which."""


class NoAnswer(SimulationError):
    """The dashboard does not answer; nobody knows whether it has done what it was asked for."""
