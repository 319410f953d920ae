"""The simulated person, who turns an image's proposed boxes into the true ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig
from labelloop.regions import to_results
from trainer.judging import corrections
from trainer.judging.effort import Work
from trainer.simulate.options import Person


def correct(proposed: Boxes, truth: Boxes, person: Person) -> Work:
    """What a person does in an image without clicks; see `corrections.correct`."""
    return corrections.correct(proposed, truth, person, person.accepted_iou, person.adjusted_iou)


def keep(proposed: Boxes, truth: Boxes, person: Person) -> tuple[Work, NDArray[np.int64]]:
    """What a person does with the proposed boxes, and the indices of the true ones that then still lack."""
    return corrections.keep(proposed, truth, person, person.accepted_iou, person.adjusted_iou)


def annotation(truth: Boxes, config: LabelConfig, width: int, height: int) -> list[dict[str, Any]]:
    """The annotation to submit: the true boxes in Label Studio's format."""
    results = to_results(truth, config, width, height)
    return [{key: value for key, value in result.items() if key != "score"} for result in results]
