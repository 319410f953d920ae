"""label-studio-ml's Flask app: our manager behind its views, credentials before them, clear errors after."""

import gc
import hmac
import importlib.util
import inspect
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from labelloop.connection import USER
from labelloop.labels import LabelConfigError
from labelloop.registry import Registry
from labelloop.settings import Settings, get_settings
from mlbackend.champion import LoadDetector
from mlbackend.champions import Champions
from mlbackend.errors import BackendError
from mlbackend.loading import ImageLoader
from mlbackend.manager import ChampionManager
from mlbackend.trainer_client import TrainerClient
from mlbackend.wire import START_TRAINING, Body, check_predict, check_setup, check_webhook, json_body

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
STOCK_VIEWS = ("_predict", "_setup", "_is_training")

_CHECKS: dict[str, Callable[[Body], None]] = {
    "/predict": check_predict,
    "/setup": check_setup,
    "/webhook": check_webhook,
    "/train": lambda body: None,
    "/versions": lambda body: None,
}


def serve() -> Flask:
    """The app in production, for gunicorn: settings from the environment, mmdet's detectors."""
    import torch

    from labelloop.detector import Detector

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    keep_out_of_garbage_collections()
    return create_app(settings, Detector.load)


def keep_out_of_garbage_collections() -> None:
    """What the libraries hold, hundreds of thousands of objects, stays as long as the process. A look
    through it takes a fifth of a second, in which every request waits, whenever a model comes or goes.
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
    champions = Champions(
        Registry(settings.models_dir),
        load,
        ImageLoader(settings, _image_workers(settings)),
        settings.score_threshold,
    )
    manager = ChampionManager(settings, champions, TrainerClient(settings))
    app = _stock_app(manager)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    _replace_views(app, manager)
    _replace_hooks(app, password)
    champions.watch(stop or threading.Event())
    return app


def _image_workers(settings: Settings) -> int:
    """Decoding is the CPU's work, but most of a download is waiting."""
    return max(4, settings.threads)


def _stock_app(manager: ChampionManager) -> Flask:
    """The app of a fresh copy of label_studio_ml.api: app and manager are globals of that module."""
    spec = importlib.util.find_spec("label_studio_ml.api")
    if spec is None or spec.loader is None:
        raise ImportError("label-studio-ml is not installed")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # At DEBUG it logs every request with its headers and the access token in it.
    logging.getLogger("label_studio_ml").setLevel(logging.INFO)
    vars(module)["_manager"] = manager
    app: Flask = module._server
    return app


def _replace_views(app: Flask, manager: ChampionManager) -> None:
    for name in STOCK_VIEWS:
        app.view_functions[name] = _bare(app.view_functions[name])

    def health() -> tuple[Response, int]:
        up, report = manager.health()
        return jsonify(report), 200 if up else 503

    def train() -> tuple[Response, int]:
        return jsonify(manager.webhook(START_TRAINING, json_body(request))), 201

    def versions() -> Response:
        project = (
            request.args.get("project") if request.method == "GET" else json_body(request).get("project")
        )
        return jsonify(versions=manager.versions(project), model_dir=manager.model_dir, v2=True)

    app.view_functions["health"] = health
    app.view_functions["_train"] = train
    app.view_functions["get_version"] = versions
    app.add_url_rule("/versions", "versions_as_label_studio_asks", versions, methods=["GET"])


def _bare(view: Callable[[], Any]) -> Callable[[], Any]:
    """A stock view without its exception handler, which makes a 500 with a traceback of everything."""
    inner: Callable[[], Any] = inspect.getclosurevars(view).nonlocals["f"]
    return inner


def _replace_hooks(app: Flask, password: str) -> None:
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

    def check() -> None:
        if request.method != "POST" or request.path not in _CHECKS:
            return
        _CHECKS[request.path](json_body(request))

    app.before_request_funcs[None] = [authenticate, check]
    app.after_request_funcs[None] = []
    app.error_handler_spec.clear()
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
