"""From which score on boxes are proposed: where correcting takes the least time."""

import numpy as np
import pytest

from labelloop.boxes import Boxes
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side
from trainer.judging.effort import CAREFUL, QUICK, Costs
from trainer.judging.thresholds import Candidates, cheapest, shown

WRONG, LOOSE, TIGHT = QUICK.delete, QUICK.adjust - QUICK.draw, QUICK.accept - QUICK.draw
MANY = 1000  # boxes of each kind, beside which the prior hardly counts


def thresholds(
    classes: list[str], images: list[SnapshotImage], found: list[Boxes], usual: float, costs: Costs
) -> dict[str, float]:
    chosen = Candidates.of(len(classes), images, found, costs).thresholds(usual)
    return {classes[label]: value for label, value in chosen.items()}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([TIGHT, WRONG, WRONG, TIGHT, WRONG], 0.6),  # two deletions are cheaper than one drawing
        ([TIGHT, *[WRONG] * 7, TIGHT], 0.9),  # seven are not
        ([TIGHT, *[WRONG] * 3, LOOSE], 0.5),  # adjusting saves half a drawing: worth three deletions
        ([TIGHT, *[WRONG] * 4, LOOSE], 0.9),  # and not four
    ],
)
def test_the_threshold_is_where_boxes_take_the_least_time_to_correct(
    seconds: list[float], expected: float
) -> None:
    scores = np.repeat(0.9 - 0.1 * np.arange(len(seconds)), MANY)
    assert cheapest(scores, np.repeat(seconds, MANY), usual=0.9) == pytest.approx(expected, abs=0.005)


def test_another_table_of_costs_gives_another_threshold() -> None:
    """Three deletions for a drawing less pay at 1 s each; at 2 s and a look of 1.7 s they don't."""
    truth = image([[0, 0, 100, 100]], [0])
    kinds = [(0.8, [0, 0, 100, 100]), *[(0.7 - 0.1 * n, [200, 200, 300, 300]) for n in range(3)]]
    images, found = [], []
    for score, box in [*kinds, (0.4, [0, 0, 100, 100])]:
        images += [truth] * MANY
        found += [Boxes.of([box], [score], [0])] * MANY
    quick, careful = (thresholds(["ball"], images, found, 0.8, costs)["ball"] for costs in (QUICK, CAREFUL))
    assert (quick, careful) == (pytest.approx(0.4, abs=0.005), pytest.approx(0.8, abs=0.005))


def test_eight_boxes_pull_no_threshold_to_the_lowest() -> None:
    """Five are found with good scores and three with 0.05; the former rule took that for the threshold."""
    scores, seconds = np.array([0.9, 0.8, 0.7, 0.6, 0.5, *[0.05] * 3]), np.array([TIGHT] * 8)
    assert cheapest(scores, seconds, usual=0.3) == pytest.approx(0.3**0.2 * 0.05**0.8, abs=1e-4)  # 0.072
    wrong = np.linspace(0.25, 0.06, 16)
    scores, seconds = np.append(scores, wrong), np.append(seconds, [WRONG] * 16)
    assert cheapest(scores, seconds, usual=0.3) == 0.3, "3.5 s are saved, and the error is 11.9 s"
    assert cheapest(np.tile(scores, 100), np.tile(seconds, 100), usual=0.3) == pytest.approx(0.05, abs=0.001)


def test_the_threshold_is_never_above_the_usual_one_nor_below_the_lowest() -> None:
    assert cheapest(np.array([0.9]), np.array([TIGHT]), usual=0.3) == 0.3
    assert cheapest(np.full(500, 0.02), np.full(500, TIGHT), usual=0.3) == 0.3, "0.02 is never shown"
    assert cheapest(np.full(5000, 0.05), np.full(5000, TIGHT), usual=0.3) == pytest.approx(0.05, abs=1e-4)
    assert cheapest(np.full(500, 0.02), np.full(500, TIGHT), usual=0.01) == 0.01
    assert cheapest(np.empty(0), np.empty(0), usual=0.3) == 0.3


def image(xyxy: list[list[float]], labels: list[int]) -> SnapshotImage:
    corners = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in xyxy)
    return SnapshotImage(1, 1, "a.png", "0", 400, 400, Side.HOLDOUT, corners, tuple(labels))


def test_what_a_person_does_with_each_box() -> None:
    truth = image([[0, 0, 100, 100], [200, 0, 300, 100], [200, 200, 300, 300]], [0, 0, 1])
    found = Boxes.of(
        [[0, 0, 100, 90], [0, 0, 100, 60], [200, 0, 300, 65], [200, 200, 300, 300], [0, 300, 90, 390]],
        [0.9, 0.8, 0.7, 0.6, 0.5],
        [0, 0, 0, 0, 1],
    )
    expected = [0.5 - 7, 1.0, 3.5 - 7, 3.5 - 7, 1.0]  # accept, delete, adjust, relabel, delete
    assert shown(truth, found, QUICK).tolist() == expected
    assert shown(truth, found, CAREFUL).tolist() == pytest.approx([1.7 - 7, 2.0, 4.5 - 7, 3.0 - 7, 2.0])


def test_a_box_of_the_right_label_has_its_object_before_a_higher_one_of_another() -> None:
    truth, both = image([[0, 0, 100, 100]], [1]), [[0, 0, 100, 100]] * 2
    assert shown(truth, Boxes.of(both, [0.9, 0.3], [0, 1]), QUICK).tolist() == [1.0, 0.5 - 7]


def test_labels_with_few_boxes_follow_the_others() -> None:
    """Label 1 has one box on the hold-out, found with 0.9; label 0 is found with 0.1, forty times."""
    images = [image([[0, 0, 100, 100]], [0]) for _ in range(40)] + [image([[0, 0, 100, 100]], [1])]
    found = [Boxes.of([[0, 0, 100, 100]], [score], [label]) for score, label in [*[(0.1, 0)] * 40, (0.9, 1)]]
    chosen = thresholds(["often", "once", "never"], images, found, 0.3, QUICK)
    assert chosen == {"often": pytest.approx(0.105, abs=0.001), "once": pytest.approx(0.110, abs=0.001)}
    assert thresholds(["often", "once"], images[-1:], found[-1:], 0.3, QUICK) == {"once": 0.3}
    assert thresholds(["often"], [], [], 0.3, QUICK) == {}
