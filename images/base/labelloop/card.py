"""The model card: what is recorded about a version of the model."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Overlaps(BaseModel):
    """How far labelled boxes overlap, on the images that a version was trained on (labelloop.tidying).

    iou, inside: by label, the limits from which on two boxes of it are taken for one object's. across: pairs
    of labels whose boxes lie on each other.
    """

    iou: dict[str, float] = Field(default_factory=dict)
    inside: dict[str, float] = Field(default_factory=dict)
    across: list[tuple[str, str]] = Field(default_factory=list)


NO_BOX = 1.0
"""The threshold at which no box is proposed."""
REFITTED = "thresholds refitted at once"
"""The verdict on an instant version that is its champion with other thresholds."""


class Card(BaseModel):
    """What is known about a version.

    graph: how its graph compares with the network, or why it has none. precision: in which precision a GPU
    serves it, then "; " and how its boxes compare with fp32's; empty where no GPU was. head: which labels'
    rows in the head came from the starting weights.

    round, round_requested_at: the round that made it. The number alone does not identify a round: it is used
    again when a backup is restored or the table of rounds is lost.

    sha256: by name, the hashes of the other files in the version's folder. images, boxes, boxes_by_class:
    counts over the images that the version was trained on. overlaps: of the boxes on these; None in cards of
    earlier releases and of starting models, for which the prior holds. look: the longer side of an image to
    the network, in pixels, as config.py has it; None in cards of earlier releases and of starting models, and
    where the config does not resize images to one size. mirrored: whether it looks at each image's mirror
    image too (labelloop.mirrored); not in cards of earlier releases.

    instant: of a version that was learnt at once (labelloop.instant), from what it was learnt
    (trainer.instant.notes).
    """

    model_config = ConfigDict(extra="allow")

    version: str = ""
    parent: str | None = None
    round: int | None = None
    round_requested_at: str | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    detector: str
    classes: list[str]
    weights_sha256: str = ""
    sha256: dict[str, str] = Field(default_factory=dict)
    start_weights: str = ""
    head: str = ""
    dataset_fingerprint: str | None = None
    images: int = 0
    boxes: int = 0
    boxes_by_class: dict[str, int] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    verdict: str = ""
    reason: str = ""
    score_thresholds: dict[str, float] = Field(default_factory=dict)
    overlaps: Overlaps | None = None
    look: int | None = None
    mirrored: bool = False
    instant: dict[str, Any] = Field(default_factory=dict)
    graph: str = ""
    precision: str = ""
    seconds: float = 0.0
    device: str = "cpu"
    libraries: dict[str, str] = Field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether it was trained on the project's own labels, so that `classes` are labels of the project and
        not classes of a published model.
        """
        return self.dataset_fingerprint is not None

    @property
    def shows_none(self) -> bool:
        """Whether it proposes no box of any label, since its boxes would cost more time than they save."""
        return bool(self.score_thresholds) and min(self.score_thresholds.values()) >= NO_BOX

    @property
    def refitted(self) -> bool:
        """Whether it has learnt nothing but thresholds: an instant version with its champion's own head."""
        return self.verdict == REFITTED

    def thresholds(self, labels: Sequence[str], otherwise: float) -> "NDArray[np.float32]":
        """(labels,): the lowest score at which a box of each label is shown; by default `otherwise`."""
        import numpy as np

        return np.array([self.score_thresholds.get(label, otherwise) for label in labels], dtype=np.float32)

    def rarity(self, labels: Sequence[str]) -> "NDArray[np.float32]":
        """(labels,): how rare each label is among the boxes the version was trained on; 1 is the mean."""
        import numpy as np

        counts = np.array([1 + self.boxes_by_class.get(label, 0) for label in labels], dtype=np.float32)
        return np.asarray(counts.mean() / counts, dtype=np.float32)
