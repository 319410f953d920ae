import socket
from pathlib import Path

import pytest
from support import ports
from support.ports import free_port


@pytest.fixture(autouse=True)
def nothing_given_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_given", set())


def test_no_two_workers_find_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for worker in ("gw0", "gw1", "gw7"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        monkeypatch.setattr(ports, "_given", set())
        found.append({free_port() for _ in range(50)})
    assert [len(each) for each in found] == [50] * 3, "none is given twice"
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]


def test_the_system_lends_none_of_them_to_whoever_connects() -> None:
    lent = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_port() for _ in range(20)) < lent


def test_a_port_on_which_something_listens_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_FIRST", first := free_port(16))
    monkeypatch.setattr(ports, "_LAST", first + 16)
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "_SHARES", 1)
    with socket.create_server(("127.0.0.1", first + 5)):
        assert free_port(8) > first + 5
        with pytest.raises(RuntimeError, match=f"ports between {first} and {first + 16} on 127.0.0.1 has 8"):
            free_port(8)
