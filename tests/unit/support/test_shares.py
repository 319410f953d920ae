"""How pytest's processes divide the tests among them."""

from types import SimpleNamespace
from typing import Any, cast

from support.shares import Shares

UNIT = [f"tests/unit/test_1.py::test_it[{number}]" for number in range(4)]
END_TO_END = [f"tests/e2e/{name}.py::test_it[{n}]" for name in ("test_b", "test_a") for n in range(3)]


class Process:
    """One of pytest's; given: the tests that it was told to run, in their order."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += [(UNIT + END_TO_END)[number] for number in numbers]

    def shutdown(self) -> None:
        self.shutting_down = True


def test_one_process_begins_with_all_end_to_end_tests_in_their_order() -> None:
    values = {"tx": ["popen", "popen"], "loadscopereorder": True}
    config = SimpleNamespace(getvalue=values.get, option=SimpleNamespace(**values))
    shares = Shares(cast(Any, config))
    processes: list[Any] = [Process("gw0"), Process("gw1")]
    for process in processes:
        shares.add_node(process)
        shares.add_node_collection(process, UNIT + END_TO_END)
    shares.schedule()
    assert [process.given for process in processes] == [END_TO_END, UNIT]
