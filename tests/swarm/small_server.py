"""The program of all services of the small stack: it says what it is, or what the backend says."""

import os
import signal
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/backend":
            with urllib.request.urlopen("http://mlbackend:8000/slow", timeout=20) as answer:
                said = answer.read()
        else:
            time.sleep(0.3 if self.path == "/slow" else 0)
            said = " ".join([os.environ.get("VALUE", ""), os.uname().nodename]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    """What it has taken, it answers before it ends."""


if __name__ == "__main__":
    server = Server(("", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
