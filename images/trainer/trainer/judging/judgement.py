"""How a round was judged, as its folder keeps it."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from labelloop.files import write_text
from trainer.judging.evaluate import Evaluation
from trainer.rounds.folder import EVALUATION


class Judgement(BaseModel):
    """What evaluation.json holds: both models on the same hold-out, and what became of it.

    champion: None when there was none. The rest is the gate's verdict; seconds are None in what earlier
    releases wrote, whose gate compared mAP.
    """

    candidate: Evaluation
    champion: Evaluation | None
    promote: bool
    reason: str
    p: float | None
    delta: float | None
    seconds: tuple[float, float] | None = None

    @property
    def compared_with(self) -> str | None:
        return self.champion.version if self.champion else None

    @property
    def comparison(self) -> dict[str, Any]:
        """What the promoted version's card keeps of the gate's verdict."""
        return {"p": self.p, "delta": self.delta, "seconds": self.seconds}

    @classmethod
    def load(cls, round_dir: Path) -> Self:
        """Raises OSError, ValueError: there is none, or it is damaged."""
        return cls.model_validate_json((round_dir / EVALUATION).read_bytes())

    def write(self, round_dir: Path) -> None:
        write_text(round_dir / EVALUATION, self.model_dump_json() + "\n")
