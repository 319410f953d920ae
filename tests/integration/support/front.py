"""One address before several servers, as HAProxy is in compose/replicas.yml."""

import socket
import threading
from contextlib import closing, suppress
from types import TracebackType
from typing import Self


class Front:
    """Hands each connection to the next server, or the one behind it where that refuses, and begins it there
    with `address` as the browser's (PROXY protocol), unless that is empty. Leave the `with` to have it close.
    """

    def __init__(self, ports: list[int], address: str = "127.0.0.1") -> None:
        self.address = address
        self._ports = ports
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listening.accept()
            except OSError:
                return
            self._ports = [*self._ports[1:], self._ports[0]]
            threading.Thread(target=self._serve, args=(browser, self._ports), daemon=True).start()

    def _serve(self, browser: socket.socket, ports: list[int]) -> None:
        with closing(browser), suppress(OSError), closing(_connected(ports)) as server:
            if self.address:
                _, port = server.getpeername()
                server.sendall(f"PROXY TCP4 {self.address} 127.0.0.1 50000 {port}\r\n".encode())
            back = threading.Thread(target=_copy, args=(server, browser), daemon=True)
            back.start()
            _copy(browser, server)
            back.join()


def _connected(ports: list[int]) -> socket.socket:
    """A connection to the first of them that takes one. Raises OSError: none does."""
    for port in ports:
        with suppress(OSError):
            server = socket.create_connection(("127.0.0.1", port), 30)
            server.settimeout(None)
            return server
    raise ConnectionRefusedError


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
