"""A trainer that only answers."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.backend_home import TRAINER_PASSWORD


class FakeTrainer:
    """Answers as the trainer's API does; `asked` holds "METHOD path" and the body of each request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: tuple[int, Any] = (201, {"round": 7, "state": "requested", "joined": False})
        self.rounds: list[dict[str, Any]] = []
        trainer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                trainer.asked.append((f"POST {self.path}", body))
                self.reply(*trainer.answer)

            def do_GET(self) -> None:
                trainer.asked.append((f"GET {self.path}", None))
                self.reply(200, trainer.rounds)

            def reply(self, status: int, content: Any) -> None:
                if self.headers["Authorization"] != trainer.expected:
                    status, content = 401, {"detail": "no"}
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.expected = basic("mlbackend", TRAINER_PASSWORD)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def basic(user: str, password: str) -> str:
    """The Authorization header of basic auth."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
