"""What can go wrong in a simulation, apart from what can go wrong in the loop."""


class OptionError(ValueError):
    """An option that cannot be used; the message names it, its value and what is possible."""


class DatasetError(RuntimeError):
    """The folder is no dataset that can be labelled; the message names the file."""


class SimulationError(RuntimeError):
    """A round failed, or Label Studio hands out no task although some are left; the message says which."""
