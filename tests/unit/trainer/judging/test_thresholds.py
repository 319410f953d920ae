"""From which score on boxes are proposed: where correcting takes the least time."""

from collections.abc import Sequence

import numpy as np
import pytest

from labelloop.boxes import Boxes
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side
from trainer.judging.effort import CAREFUL, QUICK, Costs
from trainer.judging.thresholds import Candidates, cheapest

WRONG, LOOSE, TIGHT = QUICK.delete, QUICK.adjust - QUICK.draw, QUICK.accept - QUICK.draw
MANY = 1000  # boxes of each kind, beside which the prior hardly counts


def thresholds(
    classes: list[str],
    images: list[SnapshotImage],
    found: list[Boxes],
    usual: float,
    costs: Costs,
    click_right: float = 0.0,
    highest: float | None = None,
) -> dict[str, float]:
    """Of a person who draws, as clicks fetch nothing, unless click_right says otherwise."""
    candidates = Candidates.of(len(classes), images, found, costs, click_right)
    chosen = candidates.thresholds(usual, highest)
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
    assert cheapest(scores, np.repeat(seconds, MANY), start=0.5, highest=0.9) == pytest.approx(
        expected, abs=0.005
    )


def test_another_table_of_costs_gives_another_threshold() -> None:
    """Three deletions for a drawing less pay at 1 s each; at 2 s and a look of 1.7 s they don't."""
    truth = image([[0, 0, 100, 100]], [0])
    kinds = [(0.8, [0, 0, 100, 100]), *[(0.7 - 0.1 * n, [200, 200, 300, 300]) for n in range(3)]]
    images, found = [], []
    for score, box in [*kinds, (0.4, [0, 0, 100, 100])]:
        images += [truth] * 400
        found += [Boxes.of([box], [score], [0])] * 400
    quick, careful = (thresholds(["ball"], images, found, 0.8, costs)["ball"] for costs in (QUICK, CAREFUL))
    assert (quick, careful) == (pytest.approx(0.4, abs=0.01), pytest.approx(0.8, abs=0.01))


def one_each(scores: Sequence[float], right: int) -> tuple[list[SnapshotImage], list[Boxes]]:
    """Images with one ball and one box each, of which the first `right` lie on it."""
    truth, ball, elsewhere = image([[0, 0, 100, 100]], [0]), [0, 0, 100, 100], [200, 200, 300, 300]
    found = [
        Boxes.of([ball if number < right else elsewhere], [score], [0]) for number, score in enumerate(scores)
    ]
    return [truth] * right + [image([], [])] * (len(scores) - right), found


def test_eight_boxes_pull_no_threshold_to_the_lowest() -> None:
    """Five are found with good scores and three with 0.05, beneath wrong ones; the former rule took that."""
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, *[0.05] * 3, *np.linspace(0.25, 0.06, 16)]
    images, found = one_each(scores, right=8)
    expected = (1 / 7.5) ** (4 / 12) * 0.05 ** (8 / 12)  # 0.069: there are as many boxes as objects at 0.23
    assert thresholds(["ball"], images, found, 0.3, QUICK)["ball"] == pytest.approx(expected, abs=1e-3)
    careful = thresholds(["ball"], images, found, 0.3, CAREFUL)["ball"]
    assert careful > 0.2, "sixteen deletions cost more than three drawings"
    many = thresholds(["ball"], images * 100, found * 100, 0.3, QUICK)["ball"]
    assert many == pytest.approx(0.05, abs=0.001)


def test_a_model_that_gives_right_boxes_low_scores_is_shown_after_two_images() -> None:
    """As after ten photos of raccoons, where a threshold near 0.3 hid nearly all of what was found."""
    images, found = one_each([0.06, 0.04], right=2)
    assert thresholds(["ball"], images, found, 0.3, QUICK) == {"ball": 0.05}
    assert thresholds(["ball"], images, found, 0.3, CAREFUL) == {"ball": 0.05}


def test_without_an_object_on_the_hold_out_costs_alone_decide() -> None:
    for costs, expected in ((QUICK, 1 / 7.5), (CAREFUL, 2 / 7.3)):
        chosen = thresholds(["ball", "crate"], *one_each([0.9], right=1), usual=0.3, costs=costs)
        assert chosen["crate"] == pytest.approx(expected, abs=1e-4)
    assert thresholds(["ball"], [], [], 0.1, QUICK) == {"ball": 0.1}


def test_the_threshold_is_never_above_the_usual_one_nor_below_the_lowest() -> None:
    for usual in (0.3, 0.01):
        assert cheapest(np.array([0.9]), np.array([TIGHT]), usual, usual) == usual
        assert cheapest(np.full(500, 0.02), np.full(500, TIGHT), usual, usual) == (
            pytest.approx(0.05, abs=1e-3) if usual > 0.05 else usual
        )
        assert cheapest(np.empty(0), np.empty(0), usual, usual) == usual
    assert cheapest(np.full(5000, 0.05), np.full(5000, TIGHT), 0.3, 0.3) == pytest.approx(0.05, abs=1e-3)


def image(xyxy: list[list[float]], labels: list[int]) -> SnapshotImage:
    corners = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in xyxy)
    return SnapshotImage(1, 1, "a.png", "0", 400, 400, Side.HOLDOUT, corners, tuple(labels))


def test_who_clicks_on_what_is_missing_is_shown_less() -> None:
    """Three boxes on objects lie beneath sixteen wrong ones: drawing takes longer than deleting, clicking
    doesn't.
    """
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, *[0.05] * 3, *np.linspace(0.25, 0.06, 16)]
    images, found = (part * 100 for part in one_each(scores, right=8))
    draws = thresholds(["ball"], images, found, 0.3, QUICK)["ball"]
    clicks = thresholds(["ball"], images, found, 0.3, QUICK, click_right=0.9)["ball"]
    assert (draws, clicks) == (pytest.approx(0.05, abs=0.001), pytest.approx(0.3, abs=0.005))
    usual = Candidates.of(1, images, found, QUICK).thresholds(0.3)[0]
    assert usual == pytest.approx(0.3, abs=0.005), "people click, unless it is known that clicks fail"


def test_a_higher_threshold_than_the_usual_one_is_for_who_asks_for_it() -> None:
    """Below 0.5 there are nine wrong boxes for each right one."""
    images, found = one_each([*[0.9] * 8, *[0.4] * 2, *[0.45] * 18], right=10)
    images, found = images * 100, found * 100
    assert thresholds(["ball"], images, found, 0.3, QUICK)["ball"] == pytest.approx(0.3, abs=0.005)
    higher = thresholds(["ball"], images, found, 0.3, QUICK, highest=0.5)["ball"]
    assert higher == pytest.approx(0.5, abs=0.01)
    assert thresholds(["ball"], [], [], 0.3, QUICK, highest=0.5) == {"ball": 0.1333}


def test_labels_with_few_boxes_follow_the_others() -> None:
    """Label 1 has one box on the hold-out, found with 0.9; label 0 is found with 0.1, forty times."""
    images = [image([[0, 0, 100, 100]], [0]) for _ in range(40)] + [image([[0, 0, 100, 100]], [1])]
    found = [Boxes.of([[0, 0, 100, 100]], [score], [label]) for score, label in [*[(0.1, 0)] * 40, (0.9, 1)]]
    chosen = thresholds(["often", "once"], images, found, 0.3, QUICK)
    assert chosen["often"] == pytest.approx(0.1, abs=0.001)
    assert chosen["once"] == pytest.approx(0.105, abs=0.003), "twenty of the others' count"
    alone = thresholds(["often", "once"], images[-1:], found[-1:], 0.3, QUICK)["once"]
    assert alone == pytest.approx((1 / 7.5) ** 0.8 * 0.3**0.2, abs=0.001)


def test_each_image_is_corrected_at_the_thresholds_of_the_others() -> None:
    images, found = one_each([0.06, 0.2, 0.2, 0.2], right=4)
    left_out = list(Candidates.of(1, images, found, QUICK, 0.0).thresholds_of_others(0.3))
    expected = [
        thresholds(["ball"], images[:n] + images[n + 1 :], found[:n] + found[n + 1 :], 0.3, QUICK)["ball"]
        for n in range(4)
    ]
    assert [chosen[0] for chosen in left_out] == expected and len(set(expected)) == 2
    many = Candidates.of(1, images * 30, found * 30, QUICK)
    assert len(list(many.thresholds_of_others(0.3))) == 120


def test_what_showing_boxes_costs_is_counted_at_the_thresholds_of_others() -> None:
    """Two right boxes save two clicks; nine wrong ones an image cost nine deletions."""
    images, found = one_each([0.9, 0.9], right=2)
    fetched = QUICK.with_clicks().draw
    assert Candidates.of(1, images, found, QUICK).spent(0.3) == pytest.approx(2 * (0.5 - fetched))
    wrong = [Boxes.of([[200, 200, 300, 300]] * 9, [0.9] * 9, [0] * 9)] * 2
    assert Candidates.of(1, images, wrong, QUICK).spent(0.3) == pytest.approx(18 * QUICK.delete)
    assert Candidates.of(1, [], [], QUICK).spent(0.3) == 0.0


def refitted(found: list[Boxes], start: list[float], usual: float = 0.3) -> list[float]:
    """Of images with a ball each; label 1 has none."""
    truth = image([[0, 0, 100, 100]], [0])
    candidates = Candidates.of(len(start), [truth] * len(found), found, QUICK)
    return candidates.refitted(start, usual)


def test_a_version_in_service_shows_more_where_its_right_boxes_had_lower_scores() -> None:
    right = Boxes.of([[0, 0, 100, 100]], [0.1], [0])
    few, many = (refitted([right] * count, [0.3])[0] for count in (2, 24))
    assert 0.1 < many < few < 0.3
    assert many == pytest.approx(0.1 * 3 ** (4 / 28), abs=0.001)


def test_and_fewer_where_wrong_ones_had_but_no_fewer_than_without_labels() -> None:
    right, wrong = [[0, 0, 100, 100]], [[200, 200, 300, 300]] * 9
    found = Boxes.of([*right, *wrong], [0.9, *[0.25] * 9], [0] * 10)
    assert refitted([found] * 24, [0.1])[0] == pytest.approx(0.3 * (1 / 3) ** (4 / 28), abs=0.001)
    assert refitted([found] * 24, [0.4])[0] == pytest.approx(0.4, abs=0.001), "nothing was to gain"


def test_a_label_that_no_image_says_anything_of_keeps_its_threshold() -> None:
    right = Boxes.of([[0, 0, 100, 100]], [0.1], [0])
    assert refitted([right] * 24, [0.3, 0.2])[1] == 0.2
    assert refitted([Boxes.empty()], [0.25, 0.2]) == [0.25, 0.2]
