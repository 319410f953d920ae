"""As much of an S3 endpoint as a storage of Label Studio asks for: one bucket with one image."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "photos"
KEY = "line-3/a.png"
_LISTING = f"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>{BUCKET}</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
  <Contents><Key>{KEY}</Key><LastModified>2026-11-22T18:00:00.000Z</LastModified><Size>4</Size></Contents>
</ListBucketResult>"""


class FakeS3:
    """A context manager; listens on 127.0.0.1. `asked` has each path and its credentials. refusal: the
    status, and S3's own words, with which it answers everything.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.refusal: tuple[int, str] | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append((self.path, self.headers["Authorization"]))
                status, words = fake.refusal or (200, _LISTING)
                body = b"" if self.command == "HEAD" else words.encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeS3":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
