"""As much of an ML backend as Label Studio needs: /health, and /setup and /predict behind basic auth."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class FakeBackend:
    """Listens on 127.0.0.1 from `start` on. `requests` are the paths asked for, each with the body. `unread`
    are the URLs of images that it cannot read. webhook is the status and the body with which it answers Start
    Training, None where it closes the connection.
    """

    def __init__(self, password: str, version: str = "v0000") -> None:
        self.password = password
        self.version = version
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[str] = []
        self.unread: set[str] = set()
        self.webhook: tuple[int, dict[str, Any]] | None = (201, {"round": 1, "joined": False})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> "FakeBackend":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/predict":
            context = (body.get("params") or {}).get("context") or {}
            if context.get("result"):
                return {"results": [self._clicked(context)], "model_version": self.version}
            return {"results": [self._one(task) for task in body["tasks"]], "model_version": self.version}
        return {"model_version": self.version}

    def _one(self, task: dict[str, Any]) -> dict[str, Any]:
        url = task["data"]["image"]
        if url in self.unread:
            return {"model_version": self.version, "error": f"{url}: the file is empty"}
        return {"result": [], "score": 0.5, "model_version": self.version}

    def _clicked(self, context: dict[str, Any]) -> dict[str, Any]:
        """A box of a fifth of the image around a click, and of two fifths when it is asked again."""
        (hint,) = context["result"]
        side = 20.0 * (1 + context.get("again", 0))
        x, y = hint["value"]["x"] - side / 2, hint["value"]["y"] - side / 2
        label = hint["value"][hint["type"]]
        value = {"x": x, "y": y, "width": side, "height": side, "rotation": 0, "rectanglelabels": label}
        meta = {"from": "click", "version": self.version}
        region = {**hint, "type": "rectanglelabels", "value": value, "origin": "prediction", "score": 0.5}
        return {"result": [{**region, "meta": meta}], "score": 0.5, "model_version": self.version}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, {"status": "UP"})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                pair = base64.b64encode(f"labelstudio:{backend.password}".encode()).decode()
                if self.headers.get("Authorization") != f"Basic {pair}":
                    backend.refused.append(self.path)
                    return self._say(401, {"error": "who are you"})
                backend.requests.append((self.path, body))
                if self.path != "/webhook":
                    self._say(200, backend.answer(self.path, body))
                elif backend.webhook:
                    self._say(*backend.webhook)
                else:
                    self.connection.close()

            def _say(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
