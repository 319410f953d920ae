"""Which tests one of pytest's processes runs together."""

from xdist.scheduler import LoadFileScheduling

END_TO_END = "tests/e2e"


class Shares(LoadFileScheduling):
    """A file's tests go to one process, and those of all files of tests/e2e to one: they share a stack.

    With `--no-loadscope-reorder` they go in the order of their collection: the end-to-end tests first (see
    tests/e2e/conftest.py), beside all that needs no stack.
    """

    def _split_scope(self, nodeid: str) -> str:
        return END_TO_END if nodeid.startswith(f"{END_TO_END}/") else super()._split_scope(nodeid)
