"""How pytest's processes divide the tests among them."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.shares import Shares

TESTS = Path(__file__).parents[2]
OTHERS = [f"tests/contract/test_1.py::test_it[{n}]" for n in range(4)]
OTHERS += [f"tests/faults/test_2.py::test_it[{n}]" for n in range(9)]
END_TO_END = [f"tests/e2e/{name}.py::test_it[{n}]" for name in ("test_loop", "test_docs") for n in range(3)]


class Process:
    """One of pytest's; given: the tests that it was told to run, in their order."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += [(END_TO_END + OTHERS)[number] for number in numbers]

    def shutdown(self) -> None:
        self.shutting_down = True


def test_one_process_runs_all_end_to_end_tests_and_another_begins_the_rest() -> None:
    values = {"tx": ["popen", "popen"], "loadscopereorder": False}
    config = SimpleNamespace(getvalue=values.get, option=SimpleNamespace(**values))
    shares = Shares(cast(Any, config))
    processes: list[Any] = [Process("gw0"), Process("gw1")]
    for process in processes:
        shares.add_node(process)
        shares.add_node_collection(process, END_TO_END + OTHERS)
    shares.schedule()
    assert [process.given for process in processes] == [END_TO_END, OTHERS[:4]]


@pytest.mark.parametrize("beside", [True, False])
def test_end_to_end_tests_come_first_only_where_others_run_beside_them(beside: bool) -> None:
    class Item:
        def __init__(self, nodeid: str) -> None:
            self.nodeid, self.path = nodeid, TESTS.parent / nodeid.partition("::")[0]

        def add_marker(self, marker: object) -> None:
            pass

    found = importlib.util.spec_from_file_location("e2e_conftest", TESTS / "e2e/conftest.py")
    assert found and found.loader
    conftest = importlib.util.module_from_spec(found)
    found.loader.exec_module(conftest)
    items = [Item(nodeid) for nodeid in (*OTHERS, *END_TO_END[3:], *END_TO_END[:3])]
    config = SimpleNamespace(**({"workerinput": {}} if beside else {}))
    conftest.pytest_collection_modifyitems(config, items)
    expected = END_TO_END + OTHERS if beside else OTHERS + END_TO_END
    assert [item.nodeid for item in items] == expected
