"""Start Training in a project's settings says what came of it.

Label Studio's own view answers nothing, whether the ML backend took the request or refused it, and has the
backend count as training until the list of backends is loaded again. Its page shows what `response` holds.
"""

from typing import Any

import requests
from ml.api import MLBackendTrainAPI
from ml.api_connector import TIMEOUT_PREDICT
from ml.models import MLBackend
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response

from labelloop.connection import backend_url
from labelloop.settings import get_settings
from provisioner.backend_address import is_ours
from provisioner.dashboard import url_for

NO_ANSWER = "No round: the ML backend does not answer; see `make status`."
JOINED = "one is open already, and there is never more than one at a time"
QUEUED = "queued; it begins within seconds"


class StartTraining(MLBackendTrainAPI):  # type: ignore[misc]
    """Asks our ML backend for a round; any other as Label Studio does."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        backend = generics.get_object_or_404(MLBackend, pk=self.kwargs["pk"])
        self.check_object_permissions(request, backend)
        if not is_ours(backend.url, backend_url(get_settings())):
            return super().post(request, *args, **kwargs)
        code, told = _ask_for_a_round(backend)
        follow = url_for(request, backend.project_id)
        where = {"dashboard": follow} if follow else {}
        if code >= status.HTTP_400_BAD_REQUEST:
            return Response({"detail": told, "status_code": code, **where}, code)
        return Response({"response": {"round": told, **where}})


def _ask_for_a_round(backend: MLBackend) -> tuple[int, str]:
    """The status to answer with, and what is to be said.

    The body is what Label Studio sends for its button, less the project's fields that nobody reads.
    """
    body = {"action": "START_TRAINING", "project": {"id": backend.project_id}}
    try:
        answer = backend.api.post(
            url=f"{backend_url(get_settings())}/webhook", json=body, timeout=TIMEOUT_PREDICT
        )
        content = answer.json()
    except (requests.RequestException, ValueError):
        return status.HTTP_503_SERVICE_UNAVAILABLE, NO_ANSWER
    if not answer.ok:
        why = content.get("error") if isinstance(content, dict) else None
        return answer.status_code, f"No round: {why or answer.reason}"
    return answer.status_code, JOINED if content.get("joined") else QUEUED
