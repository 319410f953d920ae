"""Runs in Label Studio's own Python: drives the ML backend with Label Studio's client and model code.

Reads {"url", "password", "label_config", "calls": [[name, argument…], …]} from stdin, and writes a line that
begins with RESULT and holds a JSON list with one outcome per call. The objects are never saved, so no
database is needed.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

OFFLINE = {
    "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    # The stack exempts its own subnet; here the backend is on this machine.
    "ML_BLOCK_LOCAL_IP": "false",
}


def main() -> None:
    import label_studio

    sys.path.insert(0, str(Path(label_studio.__file__).parent))
    os.environ.update(OFFLINE)
    import django

    django.setup()
    order = json.load(sys.stdin)
    side = LabelStudioSide(order["url"], order["password"], order["label_config"])
    outcomes = [getattr(side, name)(*arguments) for name, *arguments in order["calls"]]
    print("RESULT" + json.dumps(outcomes))


class LabelStudioSide:
    def __init__(self, url: str, password: str, label_config: str) -> None:
        from django.utils import timezone
        from ml.models import MLBackend
        from projects.models import Project
        from rest_framework.authtoken.models import Token
        from users.models import User

        owner = User(id=1, email="owner@example.com")
        Token(user=owner, key="k" * 40)
        self.project = Project(
            id=1, title="t", label_config=label_config, created_at=timezone.now(), created_by=owner
        )
        self.backend = MLBackend(
            url=url,
            project=self.project,
            auth_method="BASIC_AUTH",
            basic_auth_user="labelstudio",
            basic_auth_pass=password,
        )

    def refuses(self, label_config: str) -> str:
        """What Label Studio says against a label config; empty when it takes it."""
        from core.label_config import validate_label_config
        from rest_framework.exceptions import ValidationError

        try:
            validate_label_config(label_config)
        except ValidationError as error:
            return str(error)
        return ""

    def health(self) -> dict[str, Any]:
        return _outcome(self.backend.healthcheck())

    def setup(self) -> dict[str, Any]:
        return _outcome(self.backend.setup())

    def versions(self) -> dict[str, Any]:
        return _outcome(self.backend.get_versions())

    def predict(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What Label Studio would store: its own matching of results to tasks included."""
        predictions: list[dict[str, Any]] = self.backend._get_predictions_from_ml_backend(tasks)
        return predictions

    def click(self, tasks: list[dict[str, Any]], context: dict[str, Any]) -> dict[str, Any]:
        """A request of a smart tool, as `MLBackend.interactive_annotating` makes it of a stored task."""
        return _outcome(self.backend.api.make_predictions(tasks, self.project, context=context))

    def requests_of_predict(self, tasks: list[dict[str, Any]]) -> int:
        """How many requests a batch takes: more than one when results and tasks do not match."""
        from ml.api_connector import MLApi

        made = []
        original = MLApi.make_predictions
        MLApi.make_predictions = lambda *a, **k: made.append(1) or original(*a, **k)
        try:
            self.predict(tasks)
        finally:
            MLApi.make_predictions = original
        return len(made)

    def refusals(self, predictions: list[dict[str, Any]]) -> list[str]:
        """Why Label Studio would refuse to store these predictions under the project's label config."""
        from label_studio_sdk.label_interface import LabelInterface

        interface = LabelInterface(self.project.label_config)
        return [error for p in predictions for error in interface.validate_prediction(p, return_errors=True)]

    def train(self) -> dict[str, Any]:
        """The Start Training button, less its look into the database for the counts of tasks."""
        from rest_framework.serializers import ModelSerializer
        from webhooks.serializers_for_hooks import ProjectWebhookSerializer

        class WithoutCounts(ProjectWebhookSerializer):  # type: ignore[misc]
            to_representation = ModelSerializer.to_representation

        import ml.api_connector as connector

        original = connector.load_func
        connector.load_func = lambda name: WithoutCounts
        try:
            return _outcome(self.backend.api.train(self.project))
        finally:
            connector.load_func = original

    def webhook(self, headers: dict[str, str]) -> int | None:
        """A webhook as Label Studio sends one; the status it gets."""
        import webhooks.utils as hooks
        from webhooks.models import Webhook

        hook = Webhook(url=self.backend.url + "/webhook", send_payload=True, headers=headers)
        import requests

        hooks.ssrf_safe_post = requests.post
        answer = hooks.run_webhook_sync(hook, "ANNOTATION_CREATED", {"project": {"id": 1}, "annotation": {}})
        return None if answer is None else answer.status_code


def _outcome(result: Any) -> dict[str, Any]:
    return {"type": result.type, "status": result.status_code, "response": result.response}


main()
