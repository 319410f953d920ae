"""What can go wrong in a simulation, apart from what can go wrong in the loop."""

from labelloop.errors import Explained


class OptionError(Explained):
    """An option that cannot be used; the message names it, its value and what is possible."""


class DatasetError(Explained):
    """The folder is no dataset that can be labelled; the message names the file."""


class SimulationError(Explained):
    """A round failed, or Label Studio hands out no task although some are left; the message says which."""
