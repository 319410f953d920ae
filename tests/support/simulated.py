"""What a simulated person in tests is made of: a short schedule, and scores without a model."""

from collections.abc import Callable
from typing import ClassVar

from support import shapes

from labelloop.labels import parse_label_config
from trainer.judging.effort import Work
from trainer.simulate.dataset import TrueImage
from trainer.simulate.models import Score
from trainer.simulate.options import Options
from trainer.simulate.run import Run

IMAGES = 6
CONFIG = parse_label_config(shapes.LABEL_CONFIG)
OPTIONS = Options("shapes", schedule=("2", "4", "all"), one_round_at=4, at_once=0, verify=False)
MakeRun = Callable[[Options], Run]


class FakeScorer:
    """With v0000 nothing is proposed. Scores by version; the others have that of the truth."""

    scores: ClassVar[dict[str, Score]] = {"v0000": Score(0.1, 0.2, Work(drawn=9))}

    def score(self, models: object, version: str, progress: object) -> Score:
        return self.scores.get(version, Score(0.5, 0.8, Work(accepted=9)))

    def work_with(self, models: object, version: str, images: list[TrueImage]) -> Work:
        return Work(drawn=sum(len(image.boxes) for image in images))
