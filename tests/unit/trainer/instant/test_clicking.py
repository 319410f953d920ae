"""What clicks would fetch on an image, tried with a version's eyes."""

from dataclasses import dataclass, field

import numpy as np

from labelloop.labels import LabelConfig, LabelMap, parse_label_config
from labelloop.raw_boxes import RawBoxes
from labelloop.registry import Card
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side
from trainer.instant.clicking import MOST_CLICKS, clicked

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="ball"/><Label value="crate"/></RectangleLabels></View>'
)
BALLS = [[40, 40, 100, 100], [200, 40, 260, 100], [200, 240, 260, 300]]


def image(xyxy: list[list[int]], task: int = 7) -> SnapshotImage:
    corners = tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in xyxy)
    return SnapshotImage(task, task, "a.png", "0", 400, 400, Side.TRAIN, corners, (0,) * len(corners))


@dataclass
class Eyes:
    """A detector that sees these boxes."""

    sees: list[list[int]]
    card: Card = field(default_factory=lambda: Card(detector="", classes=["ball"]))

    @property
    def raw(self) -> RawBoxes:
        xyxy = np.array(self.sees, np.float32).reshape(-1, 4)
        count = len(xyxy)
        return RawBoxes.best(xyxy, np.full(count, 0.9, np.float32), np.ones((count, 1), np.float16))

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(self.card.classes, config, trained=self.card.trained)


def tried(sees: list[list[int]], truth: list[list[int]], *known: SnapshotImage) -> tuple[int, int]:
    eyes = Eyes(sees)
    return clicked(eyes, eyes.raw, image(truth), CONFIG, known)  # type: ignore[arg-type]


def test_what_the_network_sees_is_fetched() -> None:
    assert tried(BALLS, BALLS) == (3, 3)
    assert tried(BALLS[:1], BALLS) == (3, 1), "an unseen one's box is of a size that nobody has told"


def test_unseen_objects_are_fetched_in_the_sizes_of_other_images() -> None:
    """The clicks are a little off the middle, but mostly near enough."""
    count, right = tried([], BALLS, image([[10, 10, 70, 70], [100, 100, 161, 160]], task=8))
    assert count == 3 and right >= 2


def test_many_objects_are_not_all_tried_and_none_are_no_clicks() -> None:
    crowd = [[x, y, x + 20, y + 20] for x in range(0, 360, 60) for y in range(0, 360, 60)]
    assert tried([], crowd)[0] == MOST_CLICKS
    assert tried(BALLS, []) == (0, 0)
