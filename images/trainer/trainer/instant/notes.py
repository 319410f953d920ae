"""What an instant version's card tells the process that learns the next one."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field

from labelloop.registry import Card
from trainer.instant.evidence import Pair


class Notes(BaseModel):
    """upon: the SHA-256 of the champion's weights. classes: the project's labels. learnt: by task, the stamp
    of the annotation that was learnt from. pairs: what proposals would have cost, the newest last.
    refitted: by label, the champion's thresholds as the newest labels have them; none in what earlier
    releases wrote.
    """

    upon: str
    classes: list[str]
    learnt: dict[int, str] = Field(default_factory=dict)
    pairs: list[Pair] = Field(default_factory=list)
    refitted: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, card: Card) -> Self:
        """Raises ValueError: the card tells nothing that can be read."""
        return cls.model_validate(card.instant)

    def fits(self, upon: str, classes: Sequence[str]) -> bool:
        return self.upon == upon and self.classes == list(classes)
