"""POST /detect: the boxes of one image that comes with the request. The dashboard's route of that name asks
it.

Label Studio's own requests name images; this one brings the image's bytes, in base64.
"""

import base64
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from labelloop.boxes import Boxes
from labelloop.images import ImageBusy, ImageError
from labelloop.labels import LabelConfig
from mlbackend.errors import BackendError, BadRequest
from mlbackend.manager import ChampionManager
from mlbackend.wire import json_body, read_project_id

NO_IMAGE = 415


def detect_routes(manager: ChampionManager) -> Blueprint:
    blueprint = Blueprint("detect", __name__)

    @blueprint.post("/detect")
    def detect() -> Response:
        body = json_body(request)
        project, config = read_project_id(body.get("project")), body.get("label_config")
        if not isinstance(config, str) or not config:
            raise BadRequest("label_config: missing")
        content = _content(body.get("image"))
        try:
            boxes, (width, height), version, labels = manager.detect(project, config, content)
        except ImageBusy as error:
            raise BackendError(503, str(error)) from error
        except ImageError as error:
            raise BackendError(NO_IMAGE, str(error)) from error
        return jsonify(version=version, width=width, height=height, boxes=_rows(boxes, labels))

    return blueprint


def _content(image: object) -> bytes:
    if not isinstance(image, str):
        raise BadRequest("image: expected the bytes of an image, in base64")
    try:
        return base64.b64decode(image, validate=True)
    except ValueError as error:
        raise BadRequest(f"image: no base64: {error}") from error


def _rows(boxes: Boxes, config: LabelConfig) -> list[dict[str, Any]]:
    """The surest first; corners in pixels of the upright image."""
    ordered = boxes.select(np.argsort(-boxes.scores, kind="stable"))
    return [
        {"label": config.names[label], "score": round(score, 4)}
        | dict(zip(("x1", "y1", "x2", "y2"), (round(side, 2) for side in corners), strict=True))
        for corners, score, label in zip(
            ordered.xyxy.tolist(), ordered.scores.tolist(), ordered.labels.tolist(), strict=True
        )
    ]
