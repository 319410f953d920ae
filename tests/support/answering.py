"""Stand-ins for other services, over HTTP on 127.0.0.1."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]
Answer = tuple[int, Any]
"""Status and body."""


class Served:
    """A context manager that serves an object with an `answer` method; gives its URL."""

    def __init__(self, fake: Any) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                files = "multipart" in (self.headers.get("Content-Type") or "")
                body = content if files else json.loads(content or "null")
                url = urlsplit(self.path)
                asked = (self.command, url.path, parse_qs(url.query), body)
                cookie = self.headers.get("Cookie") or ""
                status, answer = fake.answer(*asked, cookie) if cookie else fake.answer(*asked)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(ConnectionError):  # who asked may have been killed meanwhile
                    self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = _handle

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
