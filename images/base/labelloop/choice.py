"""The version that a person has put into service, and when.

    <models>/<project id>/chosen.json

What a person chose, the appliance does not change by itself.
"""

import json
from datetime import UTC, datetime

from labelloop.files import write_text
from labelloop.instant import champion_of, is_instant
from labelloop.registry import ProjectModels, RegistryError

CHOSEN = "chosen.json"


def choose(models: ProjectModels, version: str) -> str | None:
    """Puts a version into service for a person; returns the one before it, None if unknown.

    Raises:
        RegistryError: there is no such version, or it cannot serve.
    """
    models.check(version)
    if is_instant(version):
        raise RegistryError(
            f"{version} was learnt at once upon {champion_of(version)}, and serves in its place while it is "
            "the better one; nobody puts it into service"
        )
    now = datetime.now(UTC).isoformat()
    write_text(models.path / CHOSEN, json.dumps({"version": version, "at": now}) + "\n")
    return models.promote(version)


def chosen(models: ProjectModels) -> str | None:
    """The version that a person last put into service; None when nobody has."""
    try:
        return str(json.loads((models.path / CHOSEN).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
