"""label-studio-ml's routes, as Label Studio calls them: each takes its request apart and asks the manager."""

from flask import Blueprint, Response, jsonify, request

from mlbackend.manager import ChampionManager
from mlbackend.wire import START_TRAINING, check_predict, check_setup, check_webhook, json_body


def routes(manager: ChampionManager) -> Blueprint:
    """The routes of docs/reference/http-api.md, answered by `manager`."""
    blueprint = Blueprint("label_studio_ml", __name__)

    @blueprint.get("/")
    @blueprint.get("/health")
    def health() -> tuple[Response, int]:
        up, report = manager.health()
        return jsonify(report), 200 if up else 503

    @blueprint.post("/setup")
    def setup() -> Response:
        body = check_setup(json_body(request))
        return jsonify(model_version=manager.setup(body["project"], body["schema"], body.get("access_token")))

    @blueprint.post("/predict")
    def predict() -> Response:
        body = check_predict(json_body(request))
        results, version = manager.predict(
            body["tasks"], body["project"], body.get("label_config"), body.get("params")
        )
        return jsonify(results=results, model_version=version)

    @blueprint.post("/webhook")
    def webhook() -> tuple[Response, int]:
        body = check_webhook(json_body(request))
        return jsonify(manager.webhook(body["action"], body)), 201

    @blueprint.post("/train")
    def train() -> tuple[Response, int]:
        return jsonify(manager.webhook(START_TRAINING, json_body(request))), 201

    @blueprint.get("/is_training")
    def is_training() -> Response:
        return jsonify(manager.is_training(request.args.get("project")))

    @blueprint.get("/versions")
    def every_version() -> Response:
        return _versions(request.args.get("project"))

    @blueprint.post("/versions")
    def versions_of_a_project() -> Response:
        return _versions(json_body(request).get("project"))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        return jsonify({})

    def _versions(project: object) -> Response:
        return jsonify(versions=manager.versions(project), model_dir=manager.model_dir, v2=True)

    return blueprint
