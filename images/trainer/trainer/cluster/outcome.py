"""How the training of a round on a cluster ended, written by a member into the round's folder.

What is written is final. A member that is lost writes nothing, and training goes on without it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from labelloop.files import write_text
from trainer.rounds.folder import OUTCOME


@dataclass(frozen=True)
class Outcome:
    """status: as the exit status of trainer.training.process. who: the member, and its machine. words: for a
    person, one line.
    """

    status: int
    who: str = ""
    words: str = ""

    def write(self, round_dir: Path) -> None:
        write_text(round_dir / OUTCOME, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, round_dir: Path) -> Self | None:
        """None as long as training goes on."""
        try:
            return cls(**json.loads((round_dir / OUTCOME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @staticmethod
    def forget(round_dir: Path) -> None:
        (round_dir / OUTCOME).unlink(missing_ok=True)
