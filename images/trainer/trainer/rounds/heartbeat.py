"""The worker's report about itself, for the health check and `labelloop status`."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labelloop.files import write_text

BEAT_S = 5.0
STALE_S = 30.0
STARTING_MODELS = "starting models"
"""The name in `project_errors` for a starting model that cannot be written, beside the names of chores."""


@dataclass(frozen=True)
class Heartbeat:
    """One report.

    at: Unix time. projects: the champion, or None, of each project with boxes, by id as a string; None before
    Label Studio was first reached. errors: by chore, the reason why it cannot work now. project_errors: the
    same for one project alone, by its id as a string; earlier releases wrote none.
    """

    pid: int
    at: float
    projects: dict[str, str | None] | None
    errors: dict[str, str]
    project_errors: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        return time.time() - self.at

    @property
    def fresh(self) -> bool:
        """Whether the worker is alive. A heartbeat dated in the future does not count, since a live worker
        replaces it soon after the clock is set back.
        """
        return -BEAT_S <= self.age_s <= STALE_S


def _path(rounds_dir: Path) -> Path:
    return rounds_dir / "worker.json"


def beat(
    rounds_dir: Path,
    projects: dict[str, str | None] | None,
    errors: dict[str, str],
    project_errors: dict[str, dict[str, str]] | None = None,
) -> None:
    made = Heartbeat(os.getpid(), time.time(), projects, errors, project_errors or {})
    write_text(_path(rounds_dir), json.dumps(asdict(made)))


def read(rounds_dir: Path) -> Heartbeat | None:
    """The last heartbeat; None when there never was one."""
    try:
        return Heartbeat(**json.loads(_path(rounds_dir).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
