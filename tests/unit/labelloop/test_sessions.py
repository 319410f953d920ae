"""A server that closes an idle connection as the next request comes is asked again, if that is safe."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from labelloop.sessions import service_session

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nwell"
PATIENCE_S = 10.0


class Closing:
    """Answers the first `answers[n]` requests of its n-th connection, reads one more and closes; the last
    count goes for all that follow. silent: it does not close, but says nothing.
    """

    def __init__(self, answers: list[int], silent: bool = False) -> None:
        self.answers, self.silent = answers, silent
        self.requests: list[int] = []
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def serve(self) -> None:
        connections = 0
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connections += 1
                with connection:
                    self._answer(connection, self.answers[min(connections, len(self.answers)) - 1])

    def _answer(self, connection: socket.socket, answers: int) -> None:
        connection.settimeout(PATIENCE_S)
        self.requests.append(0)
        while b"\r\n\r\n" in connection.recv(65536):
            self.requests[-1] += 1
            if self.requests[-1] > answers:
                if self.silent:
                    self._over.wait(PATIENCE_S)
                return
            connection.sendall(ANSWER)

    def close(self) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[type[Closing]]:
    opened: list[Closing] = []

    class Served(Closing):
        def __init__(self, answers: list[int], silent: bool = False) -> None:
            super().__init__(answers, silent)
            opened.append(self)
            threading.Thread(target=self.serve, daemon=True).start()

    yield Served
    for server in opened:
        server.close()


def test_a_read_goes_out_again_over_a_fresh_connection(serve: type[Closing]) -> None:
    server = serve([1, 9])
    session = service_session()
    assert [session.get(server.url, timeout=PATIENCE_S).text for _ in range(2)] == ["well"] * 2
    session.close()
    assert server.requests == [2, 1]


def test_only_once(serve: type[Closing]) -> None:
    server = serve([0])
    with pytest.raises(requests.ConnectionError, match="without response"):
        service_session().get(server.url, timeout=PATIENCE_S)
    assert server.requests == [1, 1]


def test_a_write_may_have_been_done_and_is_not_repeated(serve: type[Closing]) -> None:
    server = serve([1, 9])
    session = service_session()
    session.get(server.url, timeout=PATIENCE_S)
    with pytest.raises(requests.ConnectionError):
        session.post(server.url, timeout=PATIENCE_S)
    assert server.requests == [2]


def test_a_timeout_is_waited_for_once(serve: type[Closing]) -> None:
    server = serve([0], silent=True)
    with pytest.raises(requests.ReadTimeout):
        service_session().get(server.url, timeout=(PATIENCE_S, 0.3))
    assert server.requests == [1]
