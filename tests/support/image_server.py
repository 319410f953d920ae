"""A server of images on 127.0.0.1, which can be away, and says what changed."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ImageServer:
    """files: by path. failing: how many times a path is answered by `status`, with `headers`, before it is
    served. breaking: for each path, after how many bytes its next answers break off. answered: for each path,
    the statuses that it was answered with; ranges: the parts that were asked for. stamped: whether it says
    which version a file has, and gives parts. careless: whether it gives a part of whichever version.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failing: Counter[str] = Counter()
        self.status = 503
        self.headers: dict[str, str] = {}
        self.breaking: dict[str, list[int]] = {}
        self.ranges: list[str] = []
        self.stamped = True
        self.careless = False
        self.answered: dict[str, list[int]] = {}
        self.url = ""

    def _answer(self, path: str, asked: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        if self.failing[path]:
            self.failing[path] -= 1
            return self.status, self.headers, b"away"
        content = self.files.get(path)
        if content is None:
            return 404, {}, b""
        etag = f'"{sha256(content).hexdigest()[:16]}"'
        if not self.stamped:
            return 200, {}, content
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if asked.get("If-None-Match") == etag:
            return 304, headers, b""
        if "Range" in asked and (self.careless or asked.get("If-Range") == etag):
            self.ranges.append(asked["Range"])
            first = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return 206, headers, content[first:]
        return 200, headers, content

    @contextmanager
    def serving(self) -> Iterator["ImageServer"]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, content = owner._answer(self.path, dict(self.headers.items()))
                owner.answered.setdefault(self.path, []).append(status)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                breaks = owner.breaking.get(self.path)
                self.wfile.write(content[: breaks.pop(0)] if breaks else content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
