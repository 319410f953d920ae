"""An end that tests put into the middle of something."""


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""
