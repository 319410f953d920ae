"""The version that a person has put into service, and when.

    <models>/<project id>/chosen.json

What a person chose, the appliance does not change by itself.
"""

import json
from datetime import UTC, datetime

from labelloop.files import write_text
from labelloop.registry import ProjectModels

CHOSEN = "chosen.json"


def choose(models: ProjectModels, version: str) -> str | None:
    """Puts a version into service for a person; returns the one before it, None if unknown.

    Raises:
        RegistryError: there is no such version, or it cannot serve.
    """
    models.check(version)
    now = datetime.now(UTC).isoformat()
    write_text(models.path / CHOSEN, json.dumps({"version": version, "at": now}) + "\n")
    return models.promote(version)


def chosen(models: ProjectModels) -> str | None:
    """The version that a person last put into service; None when nobody has."""
    try:
        return str(json.loads((models.path / CHOSEN).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
