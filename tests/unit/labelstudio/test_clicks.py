"""Connections of earlier releases answer clicks after an upgrade, unless somebody turns that off."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelloop.settings import Settings
from provisioner.clicks import offer_clicks
from provisioner.state import StateFile

OURS, THEIRS = "http://mlbackend:9090", "http://yolo:9090"


def backend(number: int, url: str, interactive: bool) -> dict[str, Any]:
    return {"id": number, "url": url, "title": "labelloop", "interactive": interactive}


@dataclass
class Connections:
    """As much of Label Studio's client as is asked here."""

    changed: list[tuple[str, str, Any]] = field(default_factory=list)

    def projects(self) -> list[dict[str, Any]]:
        return [
            {"id": 1, "ml_backends": [backend(4, OURS, False), backend(5, THEIRS, False)]},
            {"id": 2, "ml_backends": [backend(6, OURS + "/", True)]},
            {"id": 3, "ml_backends": []},
        ]

    def request(self, method: str, path: str, json: dict[str, Any]) -> None:
        self.changed.append((method, path, json))


def test_ours_become_interactive_once(tmp_path: Path) -> None:
    settings, file = Settings(backend_password="x"), StateFile(tmp_path / "provisioned.json")
    studio: Any = Connections()
    offer_clicks(studio, settings, file)
    ((method, path, fields),) = studio.changed
    assert (method, path) == ("PATCH", "/api/ml/4")
    assert fields["is_interactive"] is True and fields["project"] == 1 and fields["url"] == OURS
    offer_clicks(studio, settings, StateFile(tmp_path / "provisioned.json"))
    assert len(studio.changed) == 1
