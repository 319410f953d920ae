"""A server that closes an idle connection as the next request comes is asked again, if that is safe.
What is for one server goes to no other.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from support.elsewhere import Elsewhere

from labelloop.sessions import LeadsElsewhere, service_session
from labelloop.studio import Studio, StudioError

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
    session = service_session(server.url)
    assert [session.get(server.url, timeout=PATIENCE_S).text for _ in range(2)] == ["well"] * 2
    session.close()
    assert server.requests == [2, 1]


def test_only_once(serve: type[Closing]) -> None:
    server = serve([0])
    with pytest.raises(requests.ConnectionError, match="without response"):
        service_session(server.url).get(server.url, timeout=PATIENCE_S)
    assert server.requests == [1, 1]


def test_a_write_may_have_been_done_and_is_not_repeated(serve: type[Closing]) -> None:
    server = serve([1, 9])
    session = service_session(server.url)
    session.get(server.url, timeout=PATIENCE_S)
    with pytest.raises(requests.ConnectionError):
        session.post(server.url, timeout=PATIENCE_S)
    assert server.requests == [2]


def test_a_timeout_is_waited_for_once(serve: type[Closing]) -> None:
    server = serve([0], silent=True)
    with pytest.raises(requests.ReadTimeout):
        service_session(server.url).get(server.url, timeout=(PATIENCE_S, 0.3))
    assert server.requests == [1]


LOCATIONS = [
    *("http://{foreign}/a", "//{foreign}/a", "http://{foreign}\\@{service}/a", "//{foreign}\\@{service}/a"),
    *("http://{service}@{foreign}/a", "https://{service}/a", "http://u:p@{service}/a"),
]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_follows_a_redirect_to_another_server(location: str, status: int) -> None:
    with Elsewhere(location, status) as elsewhere:
        session = service_session(elsewhere.url)
        session.headers["Authorization"] = "Token s3cret"
        for send in (session.get, session.post):
            with pytest.raises(LeadsElsewhere, match="led from"):
                send(f"{elsewhere.url}/a", data=b"for the service alone", timeout=PATIENCE_S)
    assert elsewhere.asked == ["GET", "POST"] and elsewhere.sent == []


def test_redirects_within_the_server_are_followed() -> None:
    with Elsewhere("http://{service}/data/a") as elsewhere, pytest.raises(requests.TooManyRedirects):
        service_session(elsewhere.url).get(f"{elsewhere.url}/a", timeout=PATIENCE_S)
    assert len(elsewhere.asked) > 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:9@{foreign}/", "http://{foreign}/", "file:///etc/passwd"])
def test_a_session_asks_nobody_but_its_own_server(url: str) -> None:
    with Elsewhere() as elsewhere, pytest.raises(LeadsElsewhere):
        foreign = f"127.0.0.1:{elsewhere.foreign_port}"
        service_session(elsewhere.url).get(url.format(foreign=foreign), timeout=PATIENCE_S)
    assert elsewhere.sent == []


def test_a_service_without_a_url_is_named() -> None:
    with pytest.raises(ValueError, match="'labelstudio' is no service's URL: no scheme"):
        service_session("labelstudio")


def test_label_studios_answers_lead_its_client_nowhere_else() -> None:
    with Elsewhere(status=307) as elsewhere:
        studio = Studio(elsewhere.url, "s3cret")
        for ask in (lambda: studio.projects(), lambda: studio.update_project(1, title="x")):
            with pytest.raises(StudioError, match="led from"):
                ask()
        assert not studio.healthy()
    assert elsewhere.asked == ["GET", "PATCH", "GET"] and elsewhere.sent == []
