"""A project as the trainer knows it, without Label Studio."""

from typing import Any

from trainer.peers.projects import Project


def a_row(**fields: Any) -> dict[str, Any]:
    """What Label Studio tells of a project, as far as the trainer needs it."""
    return {"id": 1, "created_at": "2026-11-22T18:02:05.237603Z"} | fields


def a_project(**fields: Any) -> Project:
    return Project.of(a_row(**fields))
