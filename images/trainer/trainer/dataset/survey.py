"""What a project's labels hold that is not used, as the last look found it.

It is kept in volumes/rounds/data/<project>.json. Every snapshot, a round's or an export's, writes it anew.
In between the worker keeps it up to date.
"""

import json
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from labelloop.files import write_text
from trainer.dataset.left_out import LeftOut

FOLDER = "data"


@dataclass(frozen=True)
class Survey:
    """began: when the look began; what was changed later is not in it. label_config: under which it was.
    left_out: images, and boxes of images that are used. warnings: what a person may have meant otherwise.
    train, holdout, boxes: counts of the last snapshot; None before the first one, or when a round refused it.
    """

    project: int
    began: datetime
    label_config: str
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    train: int | None = None
    holdout: int | None = None
    boxes: int | None = None

    @property
    def images(self) -> list[LeftOut]:
        """The images that are not used."""
        return [row for row in self.left_out if not row.about.boxes]

    @property
    def beside(self) -> list[LeftOut]:
        """The boxes without which images are used."""
        return [row for row in self.left_out if row.about.boxes]

    def write(self, rounds_dir: Path) -> None:
        row: dict[str, Any] = {
            **vars(self),
            "began": self.began.isoformat(),
            "left_out": [left_out.row() for left_out in self.left_out],
        }
        write_text(_path(rounds_dir, self.project), json.dumps(row) + "\n")

    @classmethod
    def load(cls, rounds_dir: Path, project: int) -> Self | None:
        """The last look at a project; None before the first one, and when its file is damaged."""
        try:
            row = json.loads(_path(rounds_dir, project).read_bytes())
            return cls(
                **row
                | {
                    "began": datetime.fromisoformat(row["began"]).astimezone(UTC),
                    "left_out": tuple(map(LeftOut.read, row["left_out"])),
                    "warnings": tuple(row["warnings"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def forget_all_but(rounds_dir: Path, projects: Container[int]) -> None:
    """Deletes what was found in projects that are gone."""
    for path in (rounds_dir / FOLDER).glob("*.json"):
        if path.stem.isdecimal() and int(path.stem) not in projects:
            path.unlink(missing_ok=True)


def _path(rounds_dir: Path, project: int) -> Path:
    return rounds_dir / FOLDER / f"{project}.json"
