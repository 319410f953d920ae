"""A service whose every answer leads to another server, and that server, which keeps what it is sent."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Elsewhere:
    """A context manager. url: of the service. location: what its answers, of `status`, say; {foreign} stands
    for the other server's host and port, {service} for its own. sent: method, headers and body of each
    request that reached the other server; asked, credentials: the methods of those to the service, and what
    they were signed with.
    """

    def __init__(self, location: str = "http://{foreign}/data/a", status: int = 302) -> None:
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self.asked: list[str] = []
        self.credentials: set[str | None] = set()
        self._service, self._foreign = self._server(self._redirect), self._server(self._take)
        self.foreign_port = self._foreign.server_port
        hosts = [f"127.0.0.1:{server.server_port}" for server in (self._service, self._foreign)]
        self.url, self.status = f"http://{hosts[0]}", status
        self.location = location.format(service=hosts[0], foreign=hosts[1])

    def _redirect(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.asked.append(request.command)
        self.credentials.add(request.headers["Authorization"])
        request.send_response(self.status)
        request.send_header("Location", self.location)
        request.send_header("Set-Cookie", "csrftoken=c00kie")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _take(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.sent.append((request.command, dict(request.headers), body))
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"{}")

    def _server(self, answer: Any) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        return server

    def __enter__(self) -> "Elsewhere":
        for server in (self._service, self._foreign):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for server in (self._service, self._foreign):
            server.shutdown()
            server.server_close()
