"""The progress of a project's pre-labelling, for display: volumes/rounds/predict-<id>.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from labelloop.files import write_text


@dataclass(frozen=True)
class Progress:
    """Progress of a project's pre-labelling with `version`, in tasks. eta_seconds is None when it is over,
    and before it can be told.
    """

    project: int
    version: str
    done: int
    total: int
    eta_seconds: float | None
    updated_at: str

    @property
    def over(self) -> bool:
        return self.done >= self.total


def progress_path(rounds_dir: Path, project_id: int) -> Path:
    return rounds_dir / f"predict-{project_id}.json"


def write_progress(rounds_dir: Path, progress: Progress) -> None:
    write_text(progress_path(rounds_dir, progress.project), json.dumps(asdict(progress)))


def read_progress(rounds_dir: Path, project_id: int) -> Progress | None:
    """The progress that the running or the last pre-labelling of a project recorded."""
    try:
        return Progress(**json.loads(progress_path(rounds_dir, project_id).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
