"""The Flask app: credentials before the routes, clear errors after them."""

import gc
import hmac
import logging
import sys
import threading
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from labelloop.connection import USER
from labelloop.labels import LabelConfigError
from labelloop.settings import Settings, get_settings
from mlbackend.champion import LoadDetector
from mlbackend.detect import detect_routes
from mlbackend.errors import BackendError
from mlbackend.manager import ChampionManager
from mlbackend.routes import routes

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
TURN_S = 0.0005
"""So long a thread runs Python code before one that waits has its turn; Python's own 0.005 s are a fifth of a
request, which needs some ten turns: one after each file, image and pass.
"""


def serve() -> Flask:
    """The app in production, for gunicorn: settings from the environment, mmdet's detectors."""
    import torch

    from labelloop.detector import Detector

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    keep_out_of_garbage_collections()
    sys.setswitchinterval(TURN_S)
    return create_app(settings, Detector.load)


def keep_out_of_garbage_collections() -> None:
    """Keeps Python from looking through the libraries' objects whenever a model comes or goes.

    They are hundreds of thousands and live as long as the process. Looking through them takes a fifth of a
    second, and every request waits for it.
    """
    import mmdet.apis  # noqa: F401 - whatever loading a model would import

    gc.collect()
    gc.freeze()


def create_app(settings: Settings, load: LoadDetector, stop: threading.Event | None = None) -> Flask:
    """An app of its own, with its own champions.

    stop: ends the thread that follows the registry.

    Raises:
        MissingSecret: BACKEND_PASSWORD is not set.
    """
    password = settings.secret("backend_password")
    manager = ChampionManager.start(settings, load, stop or threading.Event(), several=settings.backends > 1)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(routes(manager))
    app.register_blueprint(detect_routes(manager))
    _ask_for_credentials(app, password)
    _say_what_is_wrong(app)
    return app


def _ask_for_credentials(app: Flask, password: str) -> None:
    """Every route but GET /health wants basic auth."""

    @app.before_request
    def authenticate() -> Response | None:
        if request.path == "/health" and request.method in ("GET", "HEAD"):
            return None
        given = request.authorization
        if (
            given is not None
            and given.type == "basic"
            and _same(given.username, USER) & _same(given.password, password)
        ):
            return None
        log.debug("%s %s without valid credentials", request.method, request.path)
        response = _error(401, f"basic auth is needed: user {USER}, password BACKEND_PASSWORD of .env")
        response.headers["WWW-Authenticate"] = 'Basic realm="labelloop"'
        return response


def _say_what_is_wrong(app: Flask) -> None:
    """Every error is answered as JSON, with words that say what is wrong."""
    app.register_error_handler(BackendError, lambda error: _error(error.status, str(error)))
    app.register_error_handler(LabelConfigError, lambda error: _error(400, str(error)))
    app.register_error_handler(HTTPException, lambda error: _error(error.code or 500, _http_words(error)))
    app.register_error_handler(Exception, _unexpected)


def _same(given: str | None, expected: str) -> bool:
    return hmac.compare_digest((given or "").encode("utf-8", "replace"), expected.encode())


def _http_words(error: HTTPException) -> str:
    if error.code == 413:
        return f"the request is larger than {MAX_BODY_BYTES >> 20} MiB; send fewer tasks at once"
    return f"{request.method} {request.path}: {error.description or error.name}"


def _unexpected(error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.path)
    return _error(500, f"{type(error).__name__}: {error}; see `make logs`")


def _error(status: int, message: str) -> Response:
    """{"error": message}; the status line says it too, for Label Studio shows nothing else of a refusal."""
    response = jsonify(error=message)
    words = " ".join(message.split())[:300].encode("latin-1", "replace").decode("latin-1")
    response.status = f"{status} {words or HTTPStatus(status).phrase}"
    return response
